//! The server that is asked before somebody publishes or watches.
//!
//! `POST` of `{"action": "publish"|"view", "stream": …, "token": …, "address": …}`; an answer of 2xx allows it, and its body
//! may name the stream (`{"stream": "…"}`) where the request named none; 4xx refuses; anything else is no verdict, and
//! what has none is not allowed. Verdicts are kept for a short while, so that a crowd asks once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssl::sha::Sha256;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Action;
use crate::media::StreamName;

/// How long a yes and a no count.
const ALLOWED_FOR: Duration = Duration::from_secs(30);
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// Verdicts kept at one time.
const MAX_KEPT: usize = 1_024;
/// Questions under way at one time; one more has no verdict.
const MAX_ASKED: usize = 32;
/// The longest answer that is read.
const MAX_ANSWER: usize = 4 * 1024;

/// Asks one server. Its `Debug` shows where.
pub struct Webhook {
    url: String,
    /// The same for the log: a query may hold a secret.
    shown: String,
    client: reqwest::Client,
    kept: Mutex<HashMap<[u8; 32], (Verdict, Instant)>>,
    places: Semaphore,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes.
    Allowed {
        /// The stream that it names.
        names: Option<StreamName>,
    },
    /// No.
    Refused,
    /// It did not answer, or not so that it can be understood.
    None,
}

#[derive(Serialize)]
struct Question<'a> {
    action: &'static str,
    stream: Option<&'a str>,
    token: Option<&'a str>,
    address: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Answer {
    stream: Option<String>,
}

impl Webhook {
    /// Asks at `url`, and waits for so long at most. Follows no redirect and uses no proxy: tokens go where the
    /// configuration says.
    ///
    /// # Errors
    /// When TLS cannot be set up; in words.
    pub fn new(url: String, timeout: Duration) -> Result<Webhook, String> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .pool_max_idle_per_host(4)
            .user_agent(concat!("capcast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let shown = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        Ok(Webhook { url, shown, client, kept: Mutex::default(), places: Semaphore::new(MAX_ASKED) })
    }

    /// Asks, unless the same was asked a moment ago.
    pub(super) async fn ask(
        &self,
        action: Action,
        stream: Option<&StreamName>,
        token: Option<&str>,
        address: Option<IpAddr>,
    ) -> Verdict {
        let question =
            Question { action: action.word(), stream: stream.map(StreamName::as_str), token, address };
        let Ok(question) = serde_json::to_vec(&question) else { return Verdict::None };
        let mut hash = Sha256::new();
        hash.update(&question);
        let name = hash.finish();
        if let Some(verdict) = self.kept(&name) {
            return verdict;
        }
        let Ok(_place) = self.places.try_acquire() else {
            tracing::warn!("too many wait for a verdict of {}", self.shown);
            return Verdict::None;
        };
        let verdict = match self.answer(question).await {
            Ok(verdict) => verdict,
            Err(reason) => {
                tracing::warn!("no verdict of {} on who may {}: {reason}", self.shown, action.word());
                Verdict::None
            }
        };
        self.keep(name, &verdict);
        verdict
    }

    /// One question; the error says why there is no verdict.
    async fn answer(&self, question: Vec<u8>) -> Result<Verdict, String> {
        let asked = self.client.post(&self.url).header("content-type", "application/json").body(question);
        let mut answer = asked.send().await.map_err(|error| said(&error))?;
        let status = answer.status();
        if status.is_client_error() {
            return Ok(Verdict::Refused);
        }
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| said(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("its answer is longer than {MAX_ANSWER} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        if body.trim_ascii().is_empty() {
            return Ok(Verdict::Allowed { names: None });
        }
        // A page of another program is no yes, whatever its status.
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))?;
        let names = answer.stream.map(|name| name.parse::<StreamName>()).transpose();
        let names = names.map_err(|error| format!("the stream that it names: {error}"))?;
        Ok(Verdict::Allowed { names })
    }

    #[expect(clippy::disallowed_methods, reason = "how old a verdict is")]
    fn kept(&self, name: &[u8; 32]) -> Option<Verdict> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|(_, until)| Instant::now() < *until).map(|(verdict, _)| verdict.clone())
    }

    #[expect(clippy::disallowed_methods, reason = "how old a verdict is")]
    fn keep(&self, name: [u8; 32], verdict: &Verdict) {
        let lasts = match verdict {
            Verdict::Allowed { .. } => ALLOWED_FOR,
            Verdict::Refused => REFUSED_FOR,
            Verdict::None => return,
        };
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (_, until)| now < *until);
        }
        // Whoever makes up so many questions is asked about each time.
        if kept.len() < MAX_KEPT {
            kept.insert(name, (verdict.clone(), now + lasts));
        }
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", self.shown)
    }
}

/// The innermost reason, without the address.
fn said(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
