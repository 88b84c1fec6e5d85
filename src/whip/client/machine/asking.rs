//! Requests and what their answers do.

use std::time::Instant;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::session::{Joined, Trickle};
use super::{Deleting, Machine, Posting, Stage};
use crate::whip::broadcast_box;
use crate::whip::client::endpoint::{origin, session_url};
use crate::whip::client::state::Phase;
use crate::whip::client::verdict::{Circumstances, Verdict, judge, unanswered};
use crate::whip::client::wire::{
    ANSWER, Action, CONNECT, DELETE_ANSWER, DELETE_CONNECT, Failure, FailureKind, Request, RequestId,
    Response,
};
use crate::whip::client::words::Veil;
use crate::whip::link::{self, IceServer, Link};
use crate::whip::trickle::{self, Head};

/// Redirects of one POST that are followed.
const HOPS: u32 = 5;
/// More ICE servers than this are not taken.
const ICE_SERVERS: usize = 8;
const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const SDPFRAG: HeaderValue = HeaderValue::from_static(trickle::CONTENT_TYPE);

/// What a 201 tells of the session besides its answer.
struct Created {
    url: Option<Url>,
    etag: Option<String>,
    takes_patch: bool,
    broadcast_box: bool,
    page: Option<Url>,
    ice_servers: Vec<IceServer>,
}

impl Machine {
    /// Sends the offer with what was gathered; `gathered` says that this is all.
    pub(super) fn post(&mut self, now: Instant, gathered: bool) {
        let Stage::Offering(offering) = std::mem::replace(&mut self.stage, Stage::Quiet) else { return };
        let offer = offering.offer.unwrap_or_default();
        let offer = trickle::with_candidates(&offer, &offering.candidates, gathered);
        let url = self.endpoint.url().clone();
        let request = self.request(Method::POST, url.clone(), offer.clone());
        self.stage = Stage::Posting(Posting {
            transport: Some(offering.transport),
            request: request.id,
            url,
            hops: 0,
            offer,
            candidates: Vec::new(),
            gathered,
            until: request.given_up(now),
        });
        self.actions.push(Action::Send(Box::new(request)));
    }

    /// A request with the key, where the key may go, and the type of its body.
    pub(super) fn request(&mut self, method: Method, url: Url, body: String) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.endpoint.bearer_for(&url).and_then(|bearer| bearer.header()) {
            headers.insert(AUTHORIZATION, value);
        }
        let mut times = (CONNECT, ANSWER);
        match method {
            Method::POST => {
                headers.insert(CONTENT_TYPE, SDP);
                headers.insert(ACCEPT, SDP);
            }
            Method::PATCH => {
                headers.insert(CONTENT_TYPE, SDPFRAG);
            }
            _ => times = (DELETE_CONNECT, DELETE_ANSWER),
        }
        let id = RequestId(self.id());
        Request { id, method, url, headers, body, connect: times.0, answer: times.1 }
    }

    pub(super) fn on_answer(&mut self, now: Instant, id: RequestId, response: &Response) {
        if self.deleting.as_ref().is_some_and(|deleting| deleting.request == id) {
            // Whatever it says, the session is named no more; only a server in trouble may not have heard.
            let heard = !response.status.is_server_error();
            let again = self.deleting.take().is_some_and(|deleting| !deleting.before_attempt);
            if heard || !again {
                self.leftover = None;
            }
        } else if let Some(witness) = self.witness_of(id) {
            witness.answered(response);
        } else if self.is_patch(id) {
            self.patched(now, Some(response.status));
        } else if matches!(&self.stage, Stage::Posting(posting) if posting.request == id) {
            self.on_post_answer(now, response);
        }
    }

    pub(super) fn on_failure(&mut self, now: Instant, id: RequestId, failure: &Failure) {
        let deleting = self.deleting.take_if(|deleting| deleting.request == id);
        if let Some(Deleting { before_attempt, .. }) = deleting {
            let unreached = matches!(failure.kind, FailureKind::NobodyListens | FailureKind::Connect);
            if before_attempt && unreached {
                // The POST would go the same way.
                self.last_attempt = Some(now);
                self.miss(now, failure);
            } else if before_attempt {
                self.leftover = None;
            }
        } else if let Some(witness) = self.witness_of(id) {
            witness.unanswered(failure.kind);
        } else if self.is_patch(id) {
            self.patched(now, None);
        } else if matches!(&self.stage, Stage::Posting(posting) if posting.request == id) {
            let Stage::Posting(posting) = std::mem::replace(&mut self.stage, Stage::Quiet) else { return };
            if let Some(transport) = posting.transport {
                self.actions.push(Action::CloseTransport(transport));
                self.miss(now, failure);
            }
        }
    }

    /// The server was not reached or did not answer: later again.
    fn miss(&mut self, now: Instant, failure: &Failure) {
        let words = unanswered(failure, &self.veil);
        if failure.kind == FailureKind::NobodyListens {
            let wait = self.pace.nobody();
            self.pace.not_busy();
            self.retry(now + wait, Phase::BackingOff, words);
        } else {
            self.lose(now, words, None);
        }
    }

    fn on_post_answer(&mut self, now: Instant, response: &Response) {
        let Stage::Posting(mut posting) = std::mem::replace(&mut self.stage, Stage::Quiet) else { return };
        let created = response.status.is_success().then(|| created(&posting.url, &response.headers));
        let Some(transport) = posting.transport else {
            // Nobody waits for it any more; `move_on` goes on when the session it brought is ended.
            return self.leave(now, created.and_then(|created| created.url));
        };
        let named = created.as_ref().and_then(|created| created.url.clone());
        if let Some(session) = session_of(&posting.url, &response.headers) {
            self.veil = Veil::new(self.endpoint.secrets()).with(&session);
        }
        let circumstances = Circumstances {
            url: &posting.url,
            offer: &posting.offer,
            codec: self.codec,
            proved: self.learned.proved,
            has_key: self.endpoint.has_key(),
            withheld: self.endpoint.has_key() && self.endpoint.bearer_for(&posting.url).is_none(),
            veil: &self.veil,
        };
        let verdict = judge(response, &circumstances);
        if let (Verdict::Redirect(url), true) = (&verdict, posting.hops < HOPS) {
            let request = self.request(Method::POST, url.clone(), posting.offer.clone());
            posting.url = url.clone();
            posting.hops += 1;
            posting.request = request.id;
            posting.until = request.given_up(now);
            self.stage = Stage::Posting(posting);
            self.actions.push(Action::Send(Box::new(request)));
            return;
        }
        if let (Verdict::Created, Some(created)) = (&verdict, created) {
            return self.join(now, posting, created, &response.body);
        }
        self.leave(now, named);
        self.actions.push(Action::CloseTransport(transport));
        match verdict {
            Verdict::Halt(phase, words) => self.halt(now, phase, words),
            Verdict::Busy(said) => self.wait_for_place(now, &said),
            Verdict::Retry(words, after) => self.lose(now, words, after),
            Verdict::Redirect(_) if self.learned.proved => {
                self.lose(now, format!("more than {HOPS} redirects"), None);
            }
            Verdict::Redirect(url) => {
                let words = format!("more than {HOPS} redirects, the last one to {}", origin(&url));
                self.halt(now, Phase::WrongUrl, words);
            }
            Verdict::Created => {}
        }
    }

    fn wait_for_place(&mut self, now: Instant, said: &str) {
        let (wait, long) = self.pace.busy(now);
        let words = if long {
            format!("somebody else publishes with this key: {said}")
        } else {
            format!("the server still has a publisher for this key, maybe our lost one: {said}")
        };
        self.retry(now + wait, Phase::HostBusy, words);
    }

    /// Takes the server's answer.
    fn join(&mut self, now: Instant, posting: Posting, created: Created, answer: &str) {
        let Some(id) = posting.transport else { return };
        self.learned.proved = true;
        self.learned.broadcast_box = created.broadcast_box;
        self.learned.page = created.page;
        self.learned.trickles = created.takes_patch && created.url.is_some();
        self.learned.ice_servers.clone_from(&created.ice_servers);
        self.pace.not_busy();
        // An offer that was complete leaves nothing to send.
        let more = !posting.gathered || !posting.candidates.is_empty();
        let head = Head::of(&posting.offer).filter(|_| self.learned.trickles && more);
        let trickle = head.map(|head| Trickle {
            head,
            etag: created.etag,
            sent: posting.candidates.len(),
            pending: posting.candidates,
            gathered: posting.gathered,
            finished: false,
            in_flight: None,
        });
        self.stage = Stage::Joined(Box::new(Joined::new(id, created.url, trickle, now)));
        let ice_servers = created.ice_servers;
        self.actions.push(Action::ApplyAnswer { id, sdp: answer.to_owned(), ice_servers });
        self.patch(now);
    }
}

fn created(request: &Url, headers: &HeaderMap) -> Created {
    let links: Vec<Link> = texts(headers, &LINK).flat_map(Link::read_all).collect();
    let etag = texts(headers, &ETAG).next().map(str::to_owned);
    let accept_patch = texts(headers, &HeaderName::from_static("accept-patch"))
        .any(|value| value.to_ascii_lowercase().contains(trickle::CONTENT_TYPE));
    Created {
        url: session_of(request, headers),
        takes_patch: etag.is_some() || accept_patch,
        broadcast_box: broadcast_box::is_recognised(&links, etag.is_some(), accept_patch),
        page: link::page(&links, request),
        etag,
        ice_servers: links.iter().filter_map(IceServer::of).take(ICE_SERVERS).collect(),
    }
}

fn session_of(request: &Url, headers: &HeaderMap) -> Option<Url> {
    session_url(request, texts(headers, &LOCATION).next()?)
}

/// Every value of a header that is text.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}
