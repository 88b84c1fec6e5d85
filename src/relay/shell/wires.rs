//! GET, and nothing else: no redirects, no proxy, and each step reported before the next one is taken.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue};

use super::Token;
use crate::relay::{Failure, Fetch, Head};

/// Until a connection (TCP and TLS) must stand.
const CONNECT: Duration = Duration::from_secs(5);

/// What happened next to a request, and what it can go on with.
pub(super) enum Step {
    Head(Head, reqwest::Response),
    Bytes(Bytes, reqwest::Response),
    End,
    Failed(Failure),
}

pub(super) struct Wires {
    client: reqwest::Client,
    token: Option<Token>,
}

impl Wires {
    pub(super) fn new(token: Option<Token>) -> Result<Wires, String> {
        let agent = HeaderValue::from_static(concat!("capcast/", env!("CARGO_PKG_VERSION")));
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .tcp_nodelay(true)
            .default_headers(HeaderMap::from_iter([(USER_AGENT, agent)]))
            .build()
            .map_err(|error| said(&error))?;
        Ok(Wires { client, token })
    }

    /// Sends a request, up to the head of its answer.
    pub(super) fn ask(&self, fetch: &Fetch) -> impl Future<Output = Step> + Send + 'static {
        let mut asked = self.client.get(fetch.url.clone());
        if let Some((first, last)) = fetch.range {
            asked = asked.header(RANGE, format!("bytes={first}-{last}"));
        }
        let token = self.token.as_ref().filter(|_| fetch.token).map(bearer);
        async move {
            let asked = match token {
                None => asked,
                Some(Ok(token)) => asked.header(AUTHORIZATION, token),
                Some(Err(why)) => return Step::Failed(Failure::Connect(why)),
            };
            match asked.send().await {
                Ok(answer) => {
                    let head = Head { status: answer.status(), headers: answer.headers().clone() };
                    Step::Head(head, answer)
                }
                Err(error) => Step::Failed(failure(&error)),
            }
        }
    }
}

/// Reads on.
pub(super) async fn next(mut answer: reqwest::Response) -> Step {
    match answer.chunk().await {
        Ok(Some(bytes)) => Step::Bytes(bytes, answer),
        Ok(None) => Step::End,
        Err(_) => Step::Failed(Failure::Cut),
    }
}

fn bearer(token: &Token) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token()?))
        .map_err(|_| "the token has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn failure(error: &reqwest::Error) -> Failure {
    let why = said(error);
    let lower = why.to_ascii_lowercase();
    match () {
        () if ["ssl", "tls", "certificate"].iter().any(|word| lower.contains(word)) => Failure::Tls(why),
        () if error.is_connect() || error.is_timeout() => Failure::Connect(why),
        () => Failure::Cut,
    }
}

/// The innermost cause, which is the one that says something; it holds no URL.
fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "no reason given".to_owned(),
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
