//! Who may publish, and who may watch what is not open to everybody.
//!
//! A right is shown by a key of the configuration or by a signed token ([`rules`]); a server that the configuration names
//! may be asked as well, and has the last word ([`webhook`]). Wrong keys are counted for the network they come from
//! ([`guesses`]).

mod guesses;
mod rules;
mod token;
mod webhook;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::ApiError;
use crate::media::StreamName;

pub(super) use guesses::Guesses;
use rules::Judgement;
pub use rules::Rules;
pub use token::{TokenKey, TokenKeyError};
use webhook::Verdict;
pub use webhook::Webhook;

#[cfg(test)]
pub(crate) use token::fuzzed;

/// What somebody wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// WHIP.
    Publish,
    /// WHEP.
    View,
}

impl Action {
    /// As tokens and webhooks call it.
    fn word(self) -> &'static str {
        match self {
            Action::Publish => "publish",
            Action::View => "view",
        }
    }
}

/// A request, as far as it concerns rights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) action: Action,
    /// The bearer of `Authorization`: a key, a token, or for viewers the stream's name.
    pub(super) bearer: Option<&'a str>,
    /// The stream that the address names.
    pub(super) named: Option<&'a str>,
    /// The stream that is meant where nothing names one.
    pub(super) default: Option<&'a StreamName>,
    /// The session is there already: a token that has expired since still changes and ends it.
    pub(super) again: bool,
    /// The network it came from, for which wrong keys are counted.
    pub(super) source: Option<IpAddr>,
}

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A key or token is needed, and none was sent.
    Missing,
    /// It is no key or token for this; and what is wrong with the token.
    Wrong(Option<&'static str>),
    /// Too many wrong ones came from there; come again after this.
    Later(Duration),
    /// Nothing names a stream that there could be.
    NoStream,
    /// The server that is asked does not answer.
    NoVerdict,
}

/// The rules of this box, and what was guessed at them; cheap to clone. Its `Debug` shows no key.
#[derive(Clone, Debug)]
pub struct Access {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: ArcSwap<Rules>,
    guesses: Mutex<Guesses>,
}

impl Access {
    /// By these rules.
    pub fn new(rules: Rules) -> Access {
        Access { inner: Arc::new(Inner { rules: ArcSwap::from_pointee(rules), guesses: Mutex::default() }) }
    }

    /// These rules count from now on; who publishes or watches already goes on.
    pub fn set(&self, rules: Rules) {
        self.inner.rules.store(Arc::new(rules));
    }

    /// Whether a publisher takes over from an earlier one of the same stream.
    pub(super) fn may_replace(&self) -> bool {
        self.inner.rules.load().replace
    }

    /// Whether streams may be published that the configuration does not name: tokens and webhooks name them.
    pub(super) fn may_name_streams(&self) -> bool {
        let rules = self.inner.rules.load();
        rules.tokens.is_some() || rules.webhook.is_some()
    }

    /// Whether this stream is watched with a key or a token alone; what a webhook would say is not known here.
    pub(super) fn guards_view_of(&self, stream: &StreamName) -> bool {
        self.inner.rules.load().guards_view_of(stream)
    }

    /// The stream that `asking` is about, if it may be done.
    pub(super) async fn admit(&self, asking: Asking<'_>) -> Result<StreamName, Refused> {
        let rules = self.inner.rules.load_full();
        let wait = self.wait(asking.source);
        // From where there were too many wrong ones, none is looked at; what is open stays open.
        let shown = if wait.is_some() { None } else { asking.bearer };
        let judgement = rules.judge(&asking, shown);
        // A webhook would look at it.
        let looked_at = rules.webhook.is_some() && asking.bearer.is_some();
        if let Some(wait) = wait
            && (looked_at || matches!(judgement, Judgement::Closed { .. }))
        {
            return Err(Refused::Later(wait));
        }
        let admitted = match &rules.webhook {
            Some(webhook) => by_verdict(judgement, webhook, &asking).await,
            None => match judgement {
                Judgement::Proven(stream) | Judgement::Open(stream) => Ok(stream),
                Judgement::Closed { .. } if asking.bearer.is_none() => Err(Refused::Missing),
                Judgement::Closed { fault, .. } => Err(Refused::Wrong(fault)),
                Judgement::Nothing => Err(Refused::NoStream),
            },
        };
        // A stream's name is no guess at its key: Broadcast Box's players send nothing else.
        let is_name =
            asking.action == Action::View && asking.bearer.is_some_and(|bearer| rules.knows(bearer));
        if matches!(admitted, Err(Refused::Wrong(_))) && !is_name {
            self.note(asking.source);
        }
        admitted
    }

    /// A bearer that was taken for a stream's name named nothing: where keys open streams, it may have been a guess.
    pub(super) fn note_unknown(&self, source: Option<IpAddr>) {
        if self.inner.rules.load().guards_views() {
            self.note(source);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "when a wrong key came: this table's clock")]
    fn note(&self, source: Option<IpAddr>) {
        if let Some(source) = source {
            let mut guesses = self.inner.guesses.lock().unwrap_or_else(PoisonError::into_inner);
            guesses.note(source, Instant::now());
        }
    }

    #[expect(clippy::disallowed_methods, reason = "when a wrong key came: this table's clock")]
    fn wait(&self, source: Option<IpAddr>) -> Option<Duration> {
        let guesses = self.inner.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.wait(source?, Instant::now())
    }
}

/// What the webhook makes of a judgement: it may open what is closed, and close what is open.
async fn by_verdict(
    judgement: Judgement,
    webhook: &Webhook,
    asking: &Asking<'_>,
) -> Result<StreamName, Refused> {
    let mut fault = None;
    let stream = match judgement {
        Judgement::Proven(stream) | Judgement::Open(stream) => Some(stream),
        Judgement::Closed { stream, fault: why } => {
            fault = why;
            stream
        }
        Judgement::Nothing => None,
    };
    match webhook.ask(asking.action, stream.as_ref(), asking.bearer, asking.source).await {
        Verdict::Allowed { names } => stream.or(names).ok_or(Refused::NoStream),
        Verdict::Refused if asking.bearer.is_none() => Err(Refused::Missing),
        Verdict::Refused => Err(Refused::Wrong(fault)),
        Verdict::None => Err(Refused::NoVerdict),
    }
}

impl Refused {
    /// In words for whoever asked. Whether a stream exists is nobody's business who may not have it.
    pub(super) fn told(self, action: Action) -> ApiError {
        match (self, action) {
            (Refused::Missing, Action::Publish) => {
                ApiError::Unauthorised("send the publish key as `Authorization: Bearer …`".to_owned())
            }
            (Refused::Missing, Action::View) => ApiError::Unauthorised(
                "this stream is watched with a key or a token: send it as `Authorization: Bearer …`, or open the player \
                 with `#key=…` behind its address"
                    .to_owned(),
            ),
            (Refused::Wrong(Some(fault)), _) => ApiError::Unauthorised(fault.to_owned()),
            (Refused::Wrong(None), Action::Publish) => {
                ApiError::Unauthorised("that is not the key of a stream to publish here".to_owned())
            }
            (Refused::Wrong(None), Action::View) => {
                ApiError::Unauthorised("with that key or token this stream is not watched".to_owned())
            }
            (Refused::Later(retry_after), _) => ApiError::TooMany { retry_after },
            (Refused::NoStream, _) => ApiError::NotFound("there is no stream of that name".to_owned()),
            (Refused::NoVerdict, _) => ApiError::Unavailable {
                reason: "the server that says who may do this gives no verdict; the box's log says why".to_owned(),
                retry_after: Duration::from_secs(5),
            },
        }
    }
}

#[cfg(test)]
mod tests;
