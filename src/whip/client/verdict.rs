//! What an answer to the POST means.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::endpoint::origin;
use super::pace::retry_after;
use super::state::Phase;
use super::wire::{BODY_LIMIT, Failure, FailureKind, Response};
use super::words::{Veil, is_web_page};
use crate::media::Codec;

/// What to make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is a session now, and its answer reads well.
    Created,
    /// The same request, to this URL.
    Redirect(Url),
    /// Not until somebody changes something.
    Halt(Phase, String),
    /// The key has a publisher.
    Busy(String),
    /// Later, maybe when the server says.
    Retry(String, Option<Duration>),
}

/// What the verdict hangs on besides the answer.
pub(super) struct Circumstances<'a> {
    /// Where the answered request went.
    pub(super) url: &'a Url,
    /// The offer it carried.
    pub(super) offer: &'a str,
    /// Its video codec.
    pub(super) codec: Codec,
    /// Did this endpoint ever give a session?
    pub(super) proved: bool,
    /// Is there a key, and was it withheld since a redirect led elsewhere?
    pub(super) has_key: bool,
    /// See `has_key`.
    pub(super) withheld: bool,
    /// Keeps secrets out of the words.
    pub(super) veil: &'a Veil,
}

/// Judges an answer. Status classes rule; where Broadcast Box says with a 400 what others say otherwise, its text does.
pub(super) fn judge(response: &Response, circumstances: &Circumstances) -> Verdict {
    let verdict = first_judgement(response, circumstances);
    match verdict {
        // Proxies say such things while a server restarts; only a key that is refused stays refused.
        Verdict::Halt(phase @ (Phase::WrongUrl | Phase::InvalidOffer), words)
            if circumstances.proved && !(phase == Phase::InvalidOffer && is_clear(response)) =>
        {
            Verdict::Retry(format!("{words} (it worked before, so this is waited out)"), None)
        }
        verdict => verdict,
    }
}

/// Is it said in so many words that the offer is bad?
fn is_clear(response: &Response) -> bool {
    response.body.to_ascii_lowercase().contains("invalid offer")
}

fn first_judgement(response: &Response, circumstances: &Circumstances) -> Verdict {
    let status = response.status;
    let code = status.as_u16();
    let said = Said { text: circumstances.veil.tame(&response.body), code };
    let after = || retry_after(&response.headers, response.wall);
    if response.body.len() > BODY_LIMIT {
        return Verdict::Retry(too_big(), None);
    }
    match code {
        200..=299 => answer(response, circumstances),
        300..=399 => redirect(response, circumstances),
        400 => bad_request(response, circumstances, &said),
        401 | 403 => refused(circumstances, &said),
        404 | 405 | 410 | 501 => Verdict::Halt(
            Phase::WrongUrl,
            format!("there is no WHIP endpoint at this URL of {}: {said}", origin(circumstances.url)),
        ),
        406 => Verdict::Halt(
            Phase::CodecRefused,
            format!("the server does not take {}: {said}", circumstances.codec.title()),
        ),
        409 | 423 => Verdict::Busy(said.to_string()),
        408 | 425 | 429 => Verdict::Retry(format!("the server asks to come back later: {said}"), after()),
        402..=499 => {
            Verdict::Halt(Phase::InvalidOffer, format!("the server does not take the offer: {said}"))
        }
        503 => Verdict::Retry(format!("the server is overloaded or restarting: {said}"), after()),
        _ => Verdict::Retry(format!("the server failed: {said}"), after()),
    }
}

/// Why there was no answer.
pub(super) fn unanswered(failure: &Failure, veil: &Veil) -> String {
    let detail = veil.tame(&failure.detail);
    let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
    match failure.kind {
        FailureKind::NobodyListens | FailureKind::Connect => {
            format!("the server is not reachable{detail}")
        }
        FailureKind::Tls => format!("no secure connection to the server{detail}"),
        FailureKind::Timeout => "the server did not answer in time".to_owned(),
        FailureKind::TooBig => too_big(),
        FailureKind::Cut => format!("the connection was cut before the whole answer was in{detail}"),
    }
}

fn too_big() -> String {
    format!("the server's answer is longer than {} KiB, so it is no WHIP answer", BODY_LIMIT / 1024)
}

/// 2xx: RFC 9725 wants 201; 200 with an answer is taken as well.
fn answer(response: &Response, circumstances: &Circumstances) -> Verdict {
    let created = response.status == StatusCode::CREATED;
    if !response.body.trim_start().starts_with("v=0") {
        let what = if is_web_page(&response.body) || header(&response.headers, &CONTENT_TYPE).contains("html")
        {
            "a web page"
        } else if response.body.trim().is_empty() {
            "nothing"
        } else {
            "what is no SDP"
        };
        let words =
            format!("{} answered {} with {what}", origin(circumstances.url), response.status.as_u16());
        return if created {
            Verdict::Retry(words, None)
        } else {
            Verdict::Halt(Phase::WrongUrl, format!("{words}: there is no WHIP endpoint at this URL"))
        };
    }
    match compare(circumstances.offer, &response.body) {
        Lines::Taken => Verdict::Created,
        Lines::Different => Verdict::Retry("the server's answer does not fit the offer".to_owned(), None),
        Lines::Refused => Verdict::Halt(
            Phase::CodecRefused,
            format!("the server took the offer but not {}", circumstances.codec.title()),
        ),
    }
}

fn redirect(response: &Response, circumstances: &Circumstances) -> Verdict {
    let code = response.status.as_u16();
    let from = circumstances.url;
    let target = from.join(&header(&response.headers, &LOCATION)).ok();
    let target = target.filter(|_| response.headers.contains_key(LOCATION));
    match (code, target) {
        (307 | 308, Some(url)) if !matches!(url.scheme(), "http" | "https") => Verdict::Halt(
            Phase::WrongUrl,
            format!("{} redirects to a `{}:` address, which is no WHIP endpoint", origin(from), url.scheme()),
        ),
        (307 | 308, Some(url)) if from.scheme() == "https" && url.scheme() == "http" => Verdict::Halt(
            Phase::WrongUrl,
            format!("{} redirects from https down to http, which is not followed", origin(from)),
        ),
        (307 | 308, Some(mut url)) => {
            url.set_fragment(None);
            // Cannot fail for http and https; such URLs have a host.
            let _ = url.set_username("").and(url.set_password(None));
            Verdict::Redirect(url)
        }
        (307 | 308, None) => {
            Verdict::Retry(format!("{} redirects ({code}) without saying where to", origin(from)), None)
        }
        (_, Some(url)) => Verdict::Halt(
            Phase::WrongUrl,
            format!(
                "{} answered {code} and points to {}; put the address it really publishes at into `url`",
                origin(from),
                origin(&url)
            ),
        ),
        (_, None) => {
            Verdict::Halt(Phase::WrongUrl, format!("{} answered {code}, no WHIP endpoint does", origin(from)))
        }
    }
}

/// 400, the status that Broadcast Box gives to nearly everything: its text is the only discriminator.
fn bad_request(response: &Response, circumstances: &Circumstances, said: &Said) -> Verdict {
    let body = response.body.to_ascii_lowercase();
    if body.contains("already has a host") {
        return Verdict::Busy(said.to_string());
    }
    if body.contains("authorization was not set") {
        return refused(circumstances, said);
    }
    // nginx, and Go's net/http.
    if body.contains("plain http request was sent to https") || body.contains("http request to an https") {
        return Verdict::Halt(
            Phase::WrongUrl,
            format!("{} speaks https; begin `url` with `https://`", origin(circumstances.url)),
        );
    }
    // Broadcast Box has no VP8; pion then says so in one of several ways.
    let guess = circumstances.codec == Codec::Vp8 && !circumstances.proved;
    if !body.contains("invalid offer") && (body.contains("codec") || guess) {
        let codec = circumstances.codec.title();
        return Verdict::Halt(Phase::CodecRefused, format!("the server does not take {codec}: {said}"));
    }
    Verdict::Halt(Phase::InvalidOffer, format!("the server does not take the offer: {said}"))
}

fn refused(circumstances: &Circumstances, said: &Said) -> Verdict {
    let words = if circumstances.withheld {
        format!(
            "redirected to {}, where the key is not sent since it is another origin; put that server's own address \
             into `url` ({said})",
            origin(circumstances.url)
        )
    } else if circumstances.has_key {
        format!("the server does not take the key: {said}")
    } else {
        format!("the server wants a key and none is configured: {said}")
    };
    Verdict::Halt(Phase::Refused, words)
}

/// The status and, where it is fit for people, the server's text.
struct Said {
    text: String,
    code: u16,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.text.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{} `{}`", self.code, self.text)
        }
    }
}

fn header(headers: &HeaderMap, name: &http::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// How an answer's m-lines stand to the offer's.
enum Lines {
    Taken,
    /// No answer to this offer.
    Different,
    /// Video, or everything, is refused.
    Refused,
}

fn compare(offer: &str, answer: &str) -> Lines {
    let (offered, answered) = (m_lines(offer), m_lines(answer));
    let same_kinds = offered.iter().map(|line| line.kind).eq(answered.iter().map(|line| line.kind));
    if offered.is_empty() || !same_kinds {
        return Lines::Different;
    }
    let video_refused = answered.iter().any(|line| line.kind == "video" && line.is_refused());
    if video_refused || answered.iter().all(MLine::is_refused) { Lines::Refused } else { Lines::Taken }
}

#[derive(Default)]
struct MLine<'a> {
    kind: &'a str,
    port_zero: bool,
    bundle_only: bool,
    inactive: bool,
}

impl MLine<'_> {
    /// By port 0 (RFC 3264 §6), where that does not mean bundle-only (RFC 8843 §6), or by `inactive`.
    fn is_refused(&self) -> bool {
        self.inactive || (self.port_zero && !self.bundle_only)
    }
}

fn m_lines(sdp: &str) -> Vec<MLine<'_>> {
    let mut lines: Vec<MLine> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split_whitespace();
            let kind = words.next().unwrap_or_default();
            lines.push(MLine { kind, port_zero: words.next() == Some("0"), ..MLine::default() });
        } else if let Some(last) = lines.last_mut() {
            last.bundle_only |= line == "a=bundle-only";
            last.inactive |= line == "a=inactive";
        }
    }
    lines
}
