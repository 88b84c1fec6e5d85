//! Who may control: the socket, whoever has the control token or logged in with it, and this host's own loopback, so far
//! as a request shows that it really began there.
//!
//! Loopback alone proves little: a reverse proxy on this host, a page of another site in this host's browser, and a DNS
//! name that resolves to 127.0.0.1 all come from it. So the `Host` must be a loopback one, nothing may say that the
//! request was forwarded, and no other site may have sent it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use subtle::ConstantTimeEq;

use super::logins::Logins;
use super::{ApiError, Site};
use crate::sfu::network;

/// How a request reached this server; every connection puts it into its requests' extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the Unix socket: who may open it may control.
    Socket,
    /// By TCP, from here.
    Tcp(SocketAddr),
    /// By TCP with TLS, from here.
    Tls(SocketAddr),
}

impl Via {
    /// The network that a request came from, for limits that each has for itself: an IPv4 address, or the 64 bits that one
    /// subscriber has with IPv6.
    pub(super) fn network(self) -> Option<IpAddr> {
        self.peer().map(|peer| network(peer.ip()))
    }

    /// The other end of the connection; none for the socket's.
    fn peer(self) -> Option<SocketAddr> {
        match self {
            Via::Socket => None,
            Via::Tcp(peer) | Via::Tls(peer) => Some(peer),
        }
    }

    /// The network for which wrong keys are counted: the client's behind a proxy on this host, else the connection's.
    pub(super) fn guesser(self, headers: &HeaderMap) -> Option<IpAddr> {
        self.client_network(headers).or_else(|| self.network())
    }

    /// [`network`](Self::network), and what a reverse proxy on this host says of its client, last in its list; none for a request of this
    /// host itself. For fairness among clients alone: whoever reaches this host's loopback may claim what they like.
    pub(super) fn client_network(self, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = self.network()?;
        if !peer.is_loopback() {
            return Some(peer);
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back()?;
        let last = forwarded.to_str().ok()?.rsplit(',').next()?;
        last.trim().parse().ok().map(network)
    }
}

/// The token that allows control from anywhere. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlToken(String);

impl ControlToken {
    /// From the content of the token's file; white space around it does not count. None when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| ControlToken(text.to_owned()))
    }

    fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl std::fmt::Debug for ControlToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlToken(…)")
    }
}

/// The cookie of a login.
pub(super) const COOKIE: &str = "capcast-control";

/// Who is trusted; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    token: Arc<ArcSwapOption<ControlToken>>,
    logins: Logins,
}

impl Trust {
    /// With the token that allows control from anywhere, if there is one.
    pub fn new(token: Option<ControlToken>) -> Trust {
        Trust { token: Arc::new(ArcSwapOption::from_pointee(token)), logins: Logins::default() }
    }

    /// This token counts from now on, or none. Logins by another one end.
    pub fn set_token(&self, token: Option<ControlToken>) {
        if self.token.load().as_deref() != token.as_ref() {
            self.token.store(token.map(Arc::new));
            self.logins.close_all();
        }
    }

    /// Is there a control token?
    pub(super) fn has_token(&self) -> bool {
        self.token.load().is_some()
    }

    /// May this request control the daemon? The error says how it could.
    pub(super) fn may_control(&self, via: Via, headers: &HeaderMap) -> Result<(), ApiError> {
        if bearer(headers).is_none() {
            if self.is_logged_in(headers) {
                return Ok(());
            }
            return may_control(via, headers, self.token.load().as_deref());
        }
        // From where there were too many wrong ones, none is looked at.
        let source = via.guesser(headers);
        if let Some(retry_after) = self.logins.wait(source) {
            return Err(ApiError::TooMany { retry_after });
        }
        let may = may_control(via, headers, self.token.load().as_deref());
        if matches!(may, Err(ApiError::Unauthorised(_))) {
            self.logins.note_failure(source);
        }
        may
    }

    /// Does this request hold the cookie of a login, and come from a page of this server? Cookies do not tell ports of a
    /// host apart, so another server's page on this host could send it.
    pub(super) fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        login_cookie(headers).is_some_and(|cookie| self.logins.is_open(cookie)) && is_own_page(headers)
    }

    /// Exchanges the control token for what a login's cookie holds. Wrong ones are counted for their network.
    pub(super) fn log_in(&self, source: Option<IpAddr>, given: &str) -> Result<String, ApiError> {
        let Some(token) = self.token.load_full() else {
            return Err(ApiError::Forbidden {
                reason: "this box has no control token".to_owned(),
                hint: "set `http.control_token_file`, or use the `capcast` command on the box itself"
                    .to_owned(),
            });
        };
        if let Some(retry_after) = self.logins.wait(source) {
            return Err(ApiError::TooMany { retry_after });
        }
        if !token.is(given) {
            self.logins.note_failure(source);
            return Err(ApiError::Unauthorised("that is not the control token".to_owned()));
        }
        self.logins.open().ok_or_else(|| ApiError::Failed("the system has no randomness".to_owned()))
    }

    /// Ends a login.
    pub(super) fn log_out(&self, cookie: &str) {
        self.logins.close(cookie);
    }
}

/// Extracted from a request that may control the daemon; others are refused, before anything more of them is read.
pub(super) struct MayControl;

impl FromRequestParts<Site> for MayControl {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, ApiError> {
        let via = parts.extensions.get::<Via>().copied();
        // Every connection says how it came; what does not is trusted least.
        let via =
            via.ok_or_else(|| ApiError::Unauthorised("nobody knows where this comes from".to_owned()))?;
        site.trust.may_control(via, &parts.headers).map(|()| MayControl)
    }
}

/// Headers by which proxies say that a request is not the client's own.
const FORWARDING: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
];

/// The same without logins.
fn may_control(via: Via, headers: &HeaderMap, token: Option<&ControlToken>) -> Result<(), ApiError> {
    let Some(peer) = via.peer() else { return Ok(()) };
    if let Some(given) = bearer(headers) {
        return match token {
            Some(token) if token.is(given) => Ok(()),
            Some(_) => Err(ApiError::Unauthorised("that is not the control token".to_owned())),
            None => Err(ApiError::Forbidden {
                reason: "a token was sent, but this box has none configured".to_owned(),
                hint: "set `http.control_token_file`, or use the `capcast` command on the box itself"
                    .to_owned(),
            }),
        };
    }
    match (distrust(peer, headers), token) {
        (None, _) => Ok(()),
        (Some(_), Some(_)) => {
            Err(ApiError::Unauthorised("send the control token as `Authorization: Bearer …`".to_owned()))
        }
        (Some(reason), None) => Err(ApiError::Forbidden {
            reason: reason.to_owned(),
            hint: "use the `capcast` command on the box itself, or set `http.control_token_file` and send that token \
                   as `Authorization: Bearer …`"
                .to_owned(),
        }),
    }
}

/// The token of `Authorization: Bearer …`, if there is one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Why a request without a token is not trusted; none when it is.
fn distrust(peer: SocketAddr, headers: &HeaderMap) -> Option<&'static str> {
    if !peer.ip().to_canonical().is_loopback() {
        return Some("control from another host needs the control token");
    }
    if FORWARDING.iter().any(|name| headers.contains_key(*name)) {
        return Some("the request was forwarded, so it is not known to begin on this host");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next().and_then(|value| value.to_str().ok()), hosts.next());
    let Some(host) = host.filter(|host| more.is_none() && is_loopback(host)) else {
        return Some("the `Host` of a request without a token must be localhost, 127.0.0.1 or [::1]");
    };
    if !is_of(host, headers) {
        return Some("the request comes from a page of another site");
    }
    None
}

/// Is this request from a page of this very server, or from no page at all, as far as its browser says?
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    is_of(host, headers)
}

/// Does the browser say nothing of a page of another server than `host`?
fn is_of(host: &str, headers: &HeaderMap) -> bool {
    let same_origin = headers.get_all(header::ORIGIN).iter().all(|origin| {
        origin.to_str().is_ok_and(|origin| {
            ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
        })
    });
    let same_site =
        headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none");
    same_origin && same_site
}

/// What the cookie of a login holds.
pub(super) fn login_cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Is `host`, with or without a port, a name of this host alone?
fn is_loopback(host: &str) -> bool {
    let Ok(uri) = Uri::builder().scheme("http").authority(host).path_and_query("/").build() else {
        return false;
    };
    let Some(name) = uri.host() else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn tcp(peer: &str) -> Via {
        Via::Tcp(peer.parse().unwrap())
    }

    #[test]
    fn loopback_is_trusted_only_when_nothing_speaks_against_it() {
        let may =
            |pairs: &[(&'static str, &'static str)]| may_control(tcp("127.0.0.1:9"), &headers(pairs), None);
        for good in [
            &[("host", "localhost:8899")][..],
            &[("host", "127.0.0.1:8899")],
            &[("host", "[::1]:8899")],
            &[
                ("host", "127.0.0.1:8899"),
                ("origin", "http://127.0.0.1:8899"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert_eq!(may(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("host", "capcast.example.org")],
            &[("host", "localhost.example.org")],
            &[("host", "127.0.0.1@example.org")],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")],
            &[("host", "localhost"), ("via", "1.1 proxy")],
            &[("host", "localhost:8899"), ("origin", "http://localhost:3000")],
            &[("host", "localhost:8899"), ("origin", "null")],
            &[("host", "localhost:8899"), ("origin", "https://evil.example")],
            &[("host", "localhost:8899"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(matches!(may(bad), Err(ApiError::Forbidden { .. })), "{bad:?} gave {:?}", may(bad));
        }
        assert_eq!(
            may_control(tcp("[::ffff:127.0.0.1]:9"), &headers(&[("host", "localhost")]), None),
            Ok(())
        );
    }

    #[test]
    fn a_network_is_what_one_subscriber_has_and_a_proxy_here_is_believed() {
        let network = |peer: &str, pairs: &[(&'static str, &'static str)]| {
            tcp(peer).client_network(&headers(pairs)).map(|network| network.to_string())
        };
        let forwarded = ("x-forwarded-for", "203.0.113.9, 2001:db8:1:2:3:4:5:6");
        for (peer, pairs, expected) in [
            ("192.0.2.1:5", &[][..], Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:5", &[], Some("192.0.2.1")),
            ("[2001:db8:7::9]:5", &[], Some("2001:db8:7::")),
            ("192.0.2.1:5", &[forwarded], Some("192.0.2.1")),
            ("127.0.0.1:5", &[forwarded], Some("2001:db8:1:2::")),
            ("127.0.0.1:5", &[("x-forwarded-for", "unknown")], None),
            ("127.0.0.1:5", &[], None),
        ] {
            assert_eq!(network(peer, pairs).as_deref(), expected, "{peer} {pairs:?}");
        }
        assert_eq!(Via::Socket.client_network(&headers(&[forwarded])), None);
        assert_eq!(tcp("[::1]:5").network(), Some("::1".parse().unwrap()));
    }

    #[test]
    fn a_login_may_control_from_anywhere_but_from_other_servers_pages() {
        let trust = Trust::new(ControlToken::new("s3cret"));
        let far = tcp("192.0.2.7:9");
        assert!(trust.log_in(None, "guess").is_err());
        let cookie = trust.log_in(None, "s3cret").unwrap();
        let cookie: &'static str = format!("other=1; {COOKIE}={cookie}").leak();
        let held = |more: &[(&'static str, &'static str)]| {
            let with = [&[("host", "box:8899"), ("cookie", cookie)], more].concat();
            trust.may_control(far, &headers(&with)).is_ok()
        };
        assert!(held(&[]) && held(&[("origin", "http://box:8899"), ("sec-fetch-site", "same-origin")]));
        assert!(!held(&[("origin", "http://box:3000")]) && !held(&[("sec-fetch-site", "same-site")]));
        assert!(!held(&[("authorization", "Bearer guess")]), "a wrong token is wrong");
        let gone = login_cookie(&headers(&[("cookie", cookie)])).unwrap().to_owned();
        trust.log_out(&gone);
        assert!(!held(&[]));
        let network = Some("192.0.2.7".parse().unwrap());
        let refusals: Vec<_> = (0..40).map(|_| trust.log_in(network, "guess").unwrap_err()).collect();
        assert!(matches!(refusals[39], ApiError::TooMany { .. }), "{:?}", refusals[39]);
        assert!(Trust::new(None).log_in(None, "").is_err());

        let cookie = trust.log_in(None, "s3cret").unwrap();
        trust.set_token(ControlToken::new("s3cret"));
        assert!(trust.logins.is_open(&cookie), "the same token read again");
        trust.set_token(ControlToken::new("other"));
        assert!(!trust.logins.is_open(&cookie) && trust.log_in(None, "s3cret").is_err());
        assert!(trust.log_in(None, "other").is_ok());
    }

    #[test]
    fn other_hosts_need_the_token_and_the_socket_needs_nothing() {
        let token = ControlToken::new(" s3cret\n").unwrap();
        let far = tcp("192.0.2.7:9");
        assert_eq!(may_control(Via::Socket, &headers(&[]), Some(&token)), Ok(()));
        assert_eq!(may_control(far, &headers(&[("authorization", "bearer s3cret")]), Some(&token)), Ok(()));
        for (pairs, configured) in [
            (&[("authorization", "Bearer s3cre")][..], Some(&token)),
            (&[("authorization", "Basic s3cret")], Some(&token)),
            (&[], Some(&token)),
        ] {
            let answer = may_control(far, &headers(pairs), configured);
            assert!(matches!(answer, Err(ApiError::Unauthorised(_))), "{pairs:?} gave {answer:?}");
        }
        for pairs in [&[("authorization", "Bearer s3cret")][..], &[("host", "localhost")]] {
            let answer = may_control(far, &headers(pairs), None);
            assert!(matches!(answer, Err(ApiError::Forbidden { .. })), "{pairs:?} gave {answer:?}");
        }
        assert_eq!(ControlToken::new(" \n"), None);
        assert_eq!(format!("{token:?}"), "ControlToken(…)");
    }
}
