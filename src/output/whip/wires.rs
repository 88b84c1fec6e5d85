//! HTTP for WHIP: one pooled client for all outputs, no redirects, nothing unbounded.

use std::error::Error as _;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper_util::client::legacy::connect::HttpInfo;

use crate::whip::client::{BODY_LIMIT, Failure, FailureKind, Request, Response};

/// Until a connection (TCP and TLS) must stand.
const CONNECT: Duration = Duration::from_secs(5);

/// A server's status is asked for beside everything else, and may not take long.
const STATUS: Duration = Duration::from_secs(4);

/// Speaks to WHIP servers. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Wires {
    client: reqwest::Client,
    /// For questions whose connection is looked at: nothing else uses it.
    apart: reqwest::Client,
}

impl Wires {
    /// A client that follows no redirect and asks no proxy: the key goes where the configuration says.
    ///
    /// # Errors
    /// When TLS cannot be set up; in words.
    pub fn new() -> Result<Wires, String> {
        Ok(Wires { client: client(2)?, apart: client(1)? })
    }

    /// The same with a connection for questions of its own: one output's, whatever others ask.
    pub(super) fn apart(&self) -> Wires {
        // It was made like this once; where it cannot be again, sharing costs no more than a proof.
        client(1).map_or_else(|_| self.clone(), |apart| Wires { apart, ..self.clone() })
    }

    /// Asks what an address allows, without a key and without a word of its answer being read: does a server answer there?
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn knock(&self, url: url::Url) -> Result<StatusCode, String> {
        let asked = self.client.request(Method::OPTIONS, url).timeout(CONNECT).send().await;
        match asked {
            Ok(answer) => Ok(answer.status()),
            Err(error) if error.is_timeout() => Err(format!("no answer in {} s", CONNECT.as_secs())),
            Err(error) => Err(said(&error)),
        }
    }

    /// A request of another protocol's, to be filled in.
    pub(in crate::output) fn request(&self, method: Method, url: url::Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends one request of the machine's and reads its answer, both within the request's limits.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Failure> {
        let limit = request.connect + request.answer;
        let asks = matches!(request.method, Method::GET | Method::OPTIONS);
        let client = if asks { &self.apart } else { &self.client };
        let asked = client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .timeout(limit)
            .send();
        let mut answer = asked.await.map_err(|error| failure(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let connection = answer.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let body = read(&mut answer).await?;
        Ok(Response { status, headers, body, wall: wall(), connection })
    }

    /// A document that needs no key, if there is one: its status and body.
    pub(super) async fn get(&self, url: url::Url) -> Option<(StatusCode, String)> {
        let mut answer = self.client.get(url).timeout(STATUS).send().await.ok()?;
        let body = read(&mut answer).await.ok()?;
        Some((answer.status(), body))
    }
}

fn client(idle: usize) -> Result<reqwest::Client, String> {
    let agent = HeaderValue::from_static(concat!("capcast/", env!("CARGO_PKG_VERSION")));
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(idle)
        .default_headers(HeaderMap::from_iter([(USER_AGENT, agent)]))
        .build()
        .map_err(|error| said(&error))
}

/// The body, no more than is allowed of it.
async fn read(answer: &mut reqwest::Response) -> Result<String, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(Failure { kind: FailureKind::TooBig, detail: String::new() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn failure(error: &reqwest::Error) -> Failure {
    let detail = said(error);
    let lower = detail.to_ascii_lowercase();
    let kind = if error.is_connect() && ["ssl", "tls", "certificate"].iter().any(|word| lower.contains(word))
    {
        FailureKind::Tls
    } else if error.is_connect() && is_refused(error) {
        FailureKind::NobodyListens
    } else if error.is_connect() {
        FailureKind::Connect
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else {
        FailureKind::Cut
    };
    Failure { kind, detail }
}

/// Did the host say that nobody listens at that port? Where it has several addresses, the last one's word counts.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(one) = cause {
        if let Some(io) = one.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = one.source();
    }
    false
}

/// The innermost cause, which is the one that says something; it holds no URL.
pub(in crate::output) fn said(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "no reason given".to_owned(),
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[expect(clippy::disallowed_methods, reason = "the wall clock for a `Retry-After` that is a date")]
fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
