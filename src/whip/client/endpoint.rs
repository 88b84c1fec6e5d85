//! Where to publish and with which key; which URLs the key may travel to.

use http::HeaderValue;
use url::{Origin, Url};

use crate::whip::broadcast_box;

/// How the key becomes a bearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyForm {
    /// Base64 when the URL's path ends in `/api/whip`, which is Broadcast Box's (and Capcast's own, which reads both);
    /// as it is anywhere else.
    #[default]
    Auto,
    /// As it is: tokens of MediaMTX, LiveKit, Cloudflare and the like.
    Plain,
    /// Base64 of its UTF-8: stream keys of Broadcast Box, wherever it is mounted.
    Base64,
}

/// Why a URL and key cannot be published with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL at all.
    #[error("the WHIP URL is malformed: {0}")]
    Malformed(String),
    /// Neither http nor https.
    #[error("a WHIP URL begins with `https://` or `http://`, not `{0}:`")]
    Scheme(String),
    /// `https://user:password@…`
    #[error(
        "the WHIP URL holds a user name or password, which WHIP does not use; put the key into `token_file`"
    )]
    Credentials,
    /// A plain key that no header can carry.
    #[error(
        "the key holds characters that a bearer cannot carry (blanks or letters beyond ASCII); only Broadcast Box \
         takes such keys, as base64"
    )]
    Key,
}

/// The publish secret as it is sent. It can be put into a header and nowhere else: no [`std::fmt::Debug`], no
/// [`std::fmt::Display`].
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// The value of `Authorization`, marked so that the HTTP crates do not print it.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Where to publish. Paths and queries may be secrets (Cloudflare's are), so there is no [`std::fmt::Debug`]; people are
/// shown the [`Endpoint::origin`].
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    bearer: Option<Bearer>,
    key: Option<String>,
}

impl Endpoint {
    /// Takes the configured URL and key. A URL without a path gets `/api/whip`; a key loses the line end of its file,
    /// and one that is then empty counts as none.
    pub fn new(url: &str, key: Option<&str>, form: KeyForm) -> Result<Endpoint, EndpointError> {
        let mut url = Url::parse(url.trim()).map_err(|error| EndpointError::Malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        url.set_fragment(None);
        if (url.path() == "/" && url.query().is_none()) || url.path().ends_with("/api/whip/") {
            let path = format!("{}/api/whip", url.path().trim_end_matches('/').trim_end_matches("/api/whip"));
            url.set_path(&path);
        }
        let key = key.map(|key| key.trim_end_matches(['\r', '\n'])).filter(|key| !key.is_empty());
        let encoded = match form {
            KeyForm::Auto => broadcast_box::is_publish_path(url.path()),
            KeyForm::Plain => false,
            KeyForm::Base64 => true,
        };
        let bearer = match key {
            Some(key) if encoded => Some(Bearer(broadcast_box::publish_bearer(key))),
            Some(key) if key.bytes().all(|b| b.is_ascii_graphic()) => Some(Bearer(key.to_owned())),
            Some(_) => return Err(EndpointError::Key),
            None => None,
        };
        Ok(Endpoint { url, bearer, key: key.map(str::to_owned) })
    }

    /// Scheme, host and port: what people are shown of it.
    pub fn origin(&self) -> String {
        origin(&self.url)
    }

    /// Where the stream is watched if this is a Broadcast Box, which only its 201 shows ([`super::Machine::watch`]).
    pub fn broadcast_box(&self) -> Option<broadcast_box::Stream> {
        broadcast_box::Stream::published(&self.url, &self.bearer.as_ref()?.0)
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn has_key(&self) -> bool {
        self.bearer.is_some()
    }

    /// The key for a request to `url`, if it may travel there: to the configured origin, or to the same host by https
    /// where http was configured.
    pub(super) fn bearer_for(&self, url: &Url) -> Option<&Bearer> {
        let upgraded =
            self.url.scheme() == "http" && url.scheme() == "https" && self.url.host() == url.host();
        self.bearer.as_ref().filter(|_| same_origin(&self.url, url) || upgraded)
    }

    /// Texts that must never reach people: the key in every form, and what in the URL looks like one.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = Vec::new();
        if let Some(key) = &self.key {
            let encoded = broadcast_box::publish_bearer(key);
            secrets.push(encoded.trim_end_matches('=').to_owned());
            secrets.push(encoded);
            secrets.push(key.replace(' ', "_"));
            let escaped: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
            secrets.push(escaped.replace('+', "%20"));
            secrets.push(escaped);
            secrets.push(key.clone());
        }
        secrets.extend(url_secrets(&self.url));
        secrets
    }
}

/// Scheme, host and port.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Parts of a URL that are long enough to be secrets: path segments of 12 characters and more, values of its query.
pub(super) fn url_secrets(url: &Url) -> Vec<String> {
    let segments = url.path().split('/').filter(|segment| segment.len() >= 12).map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= 6);
    segments.chain(values).collect()
}

fn same_origin(one: &Url, other: &Url) -> bool {
    match (one.origin(), other.origin()) {
        (Origin::Opaque(_), _) | (_, Origin::Opaque(_)) => false,
        (one, other) => one == other,
    }
}

/// The session's URL from `Location`, resolved against the URL of the request that it answers. A server behind a proxy
/// may believe that it is reached by http: then the request's origin is kept. None when it is no http URL, or goes down
/// from https to http on another host.
pub(super) fn session_url(request: &Url, location: &str) -> Option<Url> {
    let mut url = request.join(location.trim()).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    if request.scheme() == "https" && url.scheme() == "http" {
        if request.host() != url.host() {
            return None;
        }
        url.set_scheme("https").ok()?;
        url.set_port(request.port()).ok()?;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_fragment(None);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, key: &str, form: KeyForm) -> Endpoint {
        Endpoint::new(url, Some(key), form).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_are_completed_and_keys_encoded_where_broadcast_box_is_likely() {
        let cases = [
            ("https://b.example.org", "k", KeyForm::Auto, "https://b.example.org/api/whip", "aw=="),
            ("https://b.example.org/", "k\r\n", KeyForm::Auto, "https://b.example.org/api/whip", "aw=="),
            ("http://b:8080/api/whip/", "my key", KeyForm::Auto, "http://b:8080/api/whip", "bXkga2V5"),
            ("https://b/bb/api/whip#x", "k", KeyForm::Auto, "https://b/bb/api/whip", "aw=="),
            ("https://b/api/whip", "k", KeyForm::Plain, "https://b/api/whip", "k"),
            ("https://m/live/whip", "k", KeyForm::Auto, "https://m/live/whip", "k"),
            ("https://m/live/whip", "k", KeyForm::Base64, "https://m/live/whip", "aw=="),
            ("https://m/?direction=whip", "k", KeyForm::Auto, "https://m/?direction=whip", "k"),
        ];
        for (url, key, form, normal, bearer) in cases {
            let endpoint = endpoint(url, key, form);
            assert_eq!(endpoint.url.as_str(), normal, "{url}");
            let header = endpoint.bearer.unwrap().header().unwrap();
            assert_eq!(header.to_str().unwrap(), format!("Bearer {bearer}"), "{url}");
            assert_eq!(format!("{header:?}"), "Sensitive");
        }
    }

    #[test]
    fn what_cannot_be_published_with_is_refused() {
        let error = |url: &str, key: &str| Endpoint::new(url, Some(key), KeyForm::Auto).err();
        assert!(matches!(error("b.example.org/api/whip", "k"), Some(EndpointError::Malformed(_))));
        assert_eq!(error("srt://b:9000", "k"), Some(EndpointError::Scheme("srt".to_owned())));
        assert_eq!(error("https://me:pw@b/api/whip", "k"), Some(EndpointError::Credentials));
        for key in ["my key", "ключ", "a\nb"] {
            assert_eq!(error("https://m/live/whip", key), Some(EndpointError::Key), "{key:?}");
        }
        assert!(!Endpoint::new("https://m/live/whip", Some("\n"), KeyForm::Auto).unwrap().has_key());
    }

    #[test]
    fn the_key_travels_to_its_own_origin_alone() {
        let cases = [
            ("https://a/api/whip", "https://a/x", true),
            ("https://a/api/whip", "https://a:443/x", true),
            ("https://a/api/whip", "https://a:8443/x", false),
            ("https://a/api/whip", "https://edge.a/x", false),
            ("https://a/api/whip", "http://a/x", false),
            ("http://a/api/whip", "https://a/x", true),
            ("http://a:8080/api/whip", "https://a:8443/x", true),
            ("http://a/api/whip", "https://b/x", false),
        ];
        for (from, to, sent) in cases {
            let endpoint = endpoint(from, "k", KeyForm::Auto);
            assert_eq!(endpoint.bearer_for(&Url::parse(to).unwrap()).is_some(), sent, "{from} to {to}");
        }
    }

    #[test]
    fn locations_are_resolved_against_the_request() {
        let cases = [
            ("https://a/api/whip", "/api/whip/1", Some("https://a/api/whip/1")),
            ("https://a/live/whip", "1", Some("https://a/live/1")),
            ("https://a/live/whip?x=1", "https://e.a/s/1?y=2#f", Some("https://e.a/s/1?y=2")),
            ("https://a/api/whip", "//b/s", Some("https://b/s")),
            ("https://a:8443/api/whip", "http://a:8080/s/1", Some("https://a:8443/s/1")),
            ("https://a/api/whip", "http://b/s/1", None),
            ("http://a/api/whip", "http://b/s/1", Some("http://b/s/1")),
            ("https://a/api/whip", "https://u:p@a/s", Some("https://a/s")),
            ("https://a/api/whip", "ftp://a/s", None),
            ("https://a/api/whip", "http://[", None),
        ];
        for (request, location, session) in cases {
            let url = session_url(&Url::parse(request).unwrap(), location);
            assert_eq!(url.as_ref().map(Url::as_str), session, "{request} with {location}");
        }
    }
}
