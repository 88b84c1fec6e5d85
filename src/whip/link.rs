//! `Link` headers (RFC 8288), and the ICE servers that WHIP and WHEP servers announce by them (RFC 9725 §4.6).

use std::fmt;

use url::Url;

/// More links in one header than this are not read.
const LINKS: usize = 32;

/// A longer address is nothing to show or to type.
const PAGE: usize = 512;

/// One link: where to, and its parameters. No [`fmt::Debug`], since a parameter may be a TURN password.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    target: String,
    parameters: Vec<(String, String)>,
}

impl Link {
    /// Every link of one header value, in order. What is malformed is left out, not an error.
    pub fn read_all(header: &str) -> Vec<Link> {
        split_outside_quotes(header, ',').into_iter().filter_map(Link::read).take(LINKS).collect()
    }

    fn read(text: &str) -> Option<Link> {
        let (target, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = Vec::new();
        for parameter in split_outside_quotes(rest, ';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = name.trim().to_ascii_lowercase();
            if !name.is_empty() {
                parameters.push((name, unquoted(value.trim())));
            }
        }
        Some(Link { target: target.trim().to_owned(), parameters })
    }

    /// What it points to, as written: absolute or relative.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The first parameter of this name (in lower case), quotes removed.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Is this one of its relations?
    pub fn has_rel(&self, rel: &str) -> bool {
        self.parameter("rel")
            .is_some_and(|rels| rels.split_whitespace().any(|one| one.eq_ignore_ascii_case(rel)))
    }
}

/// Where people watch what is published, as the 201 to a publisher's offer says: the first page (`text/html`) among the other
/// forms of what was made (`alternate`, RFC 8288 and IANA's link relations). Only one of the origin that was asked: what
/// a server says is shown to people, and must not lead them elsewhere.
pub fn page(links: &[Link], request: &Url) -> Option<Url> {
    let page = |link: &Link| {
        let html = link.has_rel("alternate")
            && link.parameter("type").is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let url = request.join(link.target()).ok().filter(|_| html)?;
        let alike = matches!(url.scheme(), "http" | "https") && url.origin() == request.origin();
        let plain = url.username().is_empty() && url.password().is_none() && url.as_str().len() <= PAGE;
        (alike && plain).then_some(url)
    };
    links.iter().find_map(page)
}

/// A STUN or TURN server. Its [`fmt::Debug`] shows no credential.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:…`, `stuns:…`, `turn:…` or `turns:…` (RFC 7064, RFC 7065).
    pub uri: String,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN: the password.
    pub credential: Option<String>,
}

impl IceServer {
    /// The server that a link announces: relation `ice-server` and a STUN or TURN URI.
    pub fn of(link: &Link) -> Option<IceServer> {
        let known = |scheme: &str| {
            link.target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        let wanted =
            link.has_rel("ice-server") && ["stun:", "stuns:", "turn:", "turns:"].into_iter().any(known);
        wanted.then(|| IceServer {
            uri: link.target.clone(),
            username: link.parameter("username").map(str::to_owned),
            credential: link.parameter("credential").map(str::to_owned),
        })
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.credential.is_some() { " with a credential" } else { "" };
        write!(f, "IceServer({}{secret})", self.uri)
    }
}

/// Parts between separators that stand neither in quotes nor in `<>`.
fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut target) = (false, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !target => quoted = !quoted,
            '<' if !quoted => target = true,
            '>' if !quoted => target = false,
            c if c == separator && !quoted && !target => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9725 §4.6, and what the wild adds to it.
    #[test]
    fn ice_servers_are_read_with_their_credentials() {
        let header = r#"<stun:stun.example.net>; rel="ice-server", <turn:turn.example.net?transport=udp>; rel="ice-server"; username="us,er;1"; credential="my\"Pass"; credential-type="password", </x>; rel=other, <http://a.example>; rel=ice-server, broken, <TURNS:t.example:443>;REL=ICE-Server"#;
        let servers: Vec<IceServer> = Link::read_all(header).iter().filter_map(IceServer::of).collect();
        let seen: Vec<_> = servers
            .iter()
            .map(|s| {
                (s.uri.as_str(), s.username.as_deref().unwrap_or("-"), s.credential.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("stun:stun.example.net", "-", "-"),
                ("turn:turn.example.net?transport=udp", "us,er;1", "my\"Pass"),
                ("TURNS:t.example:443", "-", "-"),
            ]
        );
        assert!(!format!("{servers:?}").contains("Pass"));
    }

    #[test]
    fn a_page_is_of_the_servers_own_origin() {
        let request = Url::parse("https://b.example.org:8443/api/whip/obs").unwrap();
        let page = |target: &str, parameters: &str| {
            let header = format!("</events>; rel=\"other\", <{target}>; {parameters}");
            page(&Link::read_all(&header), &request).map(String::from)
        };
        let html = "rel=\"alternate\"; type=\"text/html\"";
        assert_eq!(page("/obs", html).as_deref(), Some("https://b.example.org:8443/obs"));
        assert_eq!(
            page("https://b.example.org:8443/obs", html).as_deref(),
            Some("https://b.example.org:8443/obs")
        );
        assert_eq!(
            page("/obs", "type=Text/HTML; rel=\"up Alternate\"").as_deref(),
            Some("https://b.example.org:8443/obs")
        );
        for elsewhere in [
            "https://b.example.org/obs",
            "http://b.example.org:8443/obs",
            "//evil.example/obs",
            "https://me:pw@b.example.org:8443/obs",
            "javascript:alert(1)",
            "data:text/html,obs",
            "https://[",
            &"/x".repeat(300),
        ] {
            assert_eq!(page(elsewhere, html), None, "{elsewhere}");
        }
        assert_eq!(page("/obs", "rel=\"alternate\""), None, "it may be anything");
        assert_eq!(page("/obs", "rel=\"alternate\"; type=\"application/json\""), None);
    }

    #[test]
    fn malformed_links_are_left_out_and_many_are_cut() {
        assert!(Link::read_all("").is_empty());
        assert!(Link::read_all("<unclosed; rel=a").is_empty());
        assert!(Link::read_all("\"<a>; rel=b").is_empty());
        assert_eq!(Link::read_all(&"<a>;rel=b,".repeat(500)).len(), LINKS);
        let link = &Link::read_all("<a,b>; rel=\"one two\"; flag")[0];
        assert_eq!((link.target(), link.parameter("flag")), ("a,b", Some("")));
        assert!(link.has_rel("TWO") && !link.has_rel("three"));
    }
}
