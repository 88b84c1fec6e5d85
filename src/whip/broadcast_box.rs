//! Broadcast Box's own rules on top of WHIP: how it reads a bearer, where a stream is watched, how it is recognised.
//!
//! It tries to read every bearer as base64, so a plain key may silently become another: `xbox` is stored as `ź1`. A
//! publisher is safe when it sends base64 of the key. Its player however sends what stands in the page's address as it
//! is, and that is read by the same rule: so for some keys the address must hold base64 too.

use base64::Engine;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use url::Url;

use super::link::Link;

/// Go's `base64.StdEncoding`: padding required, stray last bits forgiven.
const AS_GO_READS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The relation of the `Link` by which Broadcast Box offers its events.
const EVENTS: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// The stream key that Broadcast Box makes of a bearer, by the rule of its `ResolveBearerToken`; none when it answers
/// 401.
pub fn resolve_bearer(bearer: &str) -> Option<String> {
    if let Some(key) = as_base64(bearer) {
        return Some(key.replace(' ', "_"));
    }
    let key = bearer.trim().replace(' ', "_");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (!key.is_empty() && key.bytes().all(plain)).then_some(key)
}

/// What the base64 half of the rule makes of a bearer; the bearer itself when it decodes to what is no text.
fn as_base64(bearer: &str) -> Option<String> {
    let digits = bearer.trim_end_matches('=');
    let fits = !digits.is_empty()
        && bearer.len() - digits.len() <= 2
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let decoded = AS_GO_READS.decode(bearer).ok().filter(|_| fits)?;
    Some(String::from_utf8(decoded).unwrap_or_else(|_| bearer.to_owned()))
}

/// The bearer that publishes under exactly this key: base64 of its UTF-8, as Broadcast Box's own publisher sends it.
pub fn publish_bearer(key: &str) -> String {
    STANDARD.encode(key)
}

/// What must stand in the watch page's address, not percent-encoded, so that the player asks for `stream_key`: the key
/// itself where it is read back as such, else its base64.
pub fn watch_name(stream_key: &str) -> String {
    if resolve_bearer(stream_key).as_deref() == Some(stream_key) {
        stream_key.to_owned()
    } else {
        publish_bearer(stream_key)
    }
}

/// Does this 201 come from Broadcast Box? It links its events at `/api/sse/`, and has neither an `ETag` nor an
/// `Accept-Patch` (Capcast's own endpoint, which speaks the same paths, has both).
pub fn is_recognised(links: &[Link], has_etag: bool, has_accept_patch: bool) -> bool {
    let events = |link: &Link| link.has_rel(EVENTS) && link.target().contains("/api/sse/");
    !has_etag && !has_accept_patch && links.iter().any(events)
}

/// Does a WHIP URL have the path that Broadcast Box publishes at?
pub fn is_publish_path(path: &str) -> bool {
    path.ends_with("/api/whip")
}

/// One stream at a Broadcast Box, and where it is seen. Its addresses hold the stream key, which is also what publishes
/// there unless the key belongs to a profile: show them to the operator, never log them. No [`std::fmt::Debug`].
#[derive(Clone, PartialEq, Eq)]
pub struct Stream {
    root: Url,
    key: String,
}

impl Stream {
    /// The stream that publishing at `endpoint` with this bearer makes. None when the endpoint's path is not Broadcast
    /// Box's, when it would refuse the bearer, and when the key has the shape of a profile's token (a UUID): then only
    /// the server knows the name, and the token must not become an address.
    pub fn published(endpoint: &Url, bearer: &str) -> Option<Stream> {
        let key = resolve_bearer(bearer).filter(|key| !is_uuid(key))?;
        let path = endpoint.path().strip_suffix("/api/whip")?;
        let mut root = endpoint.clone();
        root.set_path(path);
        root.set_query(None);
        Some(Stream { root, key })
    }

    /// The name that the server lists the stream under.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where people watch it.
    pub fn watch_url(&self) -> Url {
        self.below(&[&watch_name(&self.key)])
    }

    /// Where its state is read: one status object, or 404 while nothing is published (JSON, whatever its content type).
    pub fn status_url(&self) -> Url {
        let mut url = self.below(&["api", "status"]);
        url.query_pairs_mut().append_pair("key", &self.key);
        url
    }

    /// Segments are percent-encoded, `/` included.
    fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == 5
        && groups
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(group, length)| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_bearer_may_become_another_key() {
        let cases = [
            ("xbox", Some("ź1")),
            ("aGVq", Some("hej")),
            ("test", Some("test")), // decodes to b5 eb 2d, which is no text
            ("my key", Some("my_key")),
            ("a_b", Some("a_b")),
            ("live-1", Some("live-1")),
            ("bXkga2V5", Some("my_key")),
            ("eGI=", Some("xb")),
            ("eGJ=", Some("xb")), // stray bits, which Go forgives
            ("eGI", Some("eGI")), // no padding: no base64
            ("ключ", None),
            ("a.b", None),
            ("a+b", None),
            ("", None),
            ("=", None),
            ("eGI===", None),
        ];
        for (bearer, key) in cases {
            assert_eq!(resolve_bearer(bearer).as_deref(), key, "{bearer:?}");
        }
    }

    #[test]
    fn publisher_and_player_mean_the_same_stream() {
        let endpoint = Url::parse("https://b.example.org/api/whip").unwrap();
        let cases = [
            ("xbox", "xbox", "https://b.example.org/eGJveA=="),
            ("aGVq", "aGVq", "https://b.example.org/YUdWcQ=="),
            ("test", "test", "https://b.example.org/test"),
            ("my key", "my_key", "https://b.example.org/my_key"),
            ("ключ", "ключ", "https://b.example.org/0LrQu9GO0Yc="),
            ("a_b", "a_b", "https://b.example.org/a_b"),
            ("a.b", "a.b", "https://b.example.org/YS5i"),
            ("??>", "??>", "https://b.example.org/Pz8+"),
            ("???", "???", "https://b.example.org/Pz8%2F"),
        ];
        for (key, stored, watch) in cases {
            let stream = Stream::published(&endpoint, &publish_bearer(key)).unwrap();
            assert_eq!((stream.key(), stream.watch_url().as_str()), (stored, watch), "{key:?}");
        }
    }

    #[test]
    fn addresses_keep_a_path_in_front_and_encode_the_key() {
        let endpoint = Url::parse("http://10.0.0.2:8080/bb/api/whip?x=1").unwrap();
        let stream = Stream::published(&endpoint, &publish_bearer("ключ & co")).unwrap();
        assert!(stream.watch_url().as_str().starts_with("http://10.0.0.2:8080/bb/"));
        assert_eq!(
            stream.status_url().as_str(),
            "http://10.0.0.2:8080/bb/api/status?key=%D0%BA%D0%BB%D1%8E%D1%87_%26_co"
        );
        assert!(Stream::published(&Url::parse("https://m.example.org/live/whip").unwrap(), "k").is_none());
    }

    #[test]
    fn a_profile_token_never_becomes_an_address() {
        let endpoint = Url::parse("https://b.example.org/api/whip").unwrap();
        let token = publish_bearer("0f8fad5b-d9cb-469f-a165-70867728950e");
        assert!(Stream::published(&endpoint, &token).is_none());
    }

    #[test]
    fn it_is_recognised_by_its_events_link() {
        let link =
            r#"</api/sse/0f8f>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="status""#;
        let links = Link::read_all(link);
        assert!(is_recognised(&links, false, false));
        assert!(!is_recognised(&links, true, false), "Capcast's own endpoint has an ETag");
        assert!(!is_recognised(&links, false, true));
        assert!(!is_recognised(&Link::read_all("<stun:s.example.org>; rel=ice-server"), false, false));
    }

    proptest! {
        #[test]
        fn what_is_published_is_what_the_watch_page_asks_for(key in "\\PC{1,24}") {
            let stored = resolve_bearer(&publish_bearer(&key)).expect("base64 of text is always taken");
            prop_assert_eq!(&stored, &key.replace(' ', "_"));
            prop_assert_eq!(resolve_bearer(&watch_name(&stored)), Some(stored));
        }
    }
}
