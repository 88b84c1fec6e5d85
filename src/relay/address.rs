//! Which addresses a source may lead to, and what may be said of them.

use url::{Origin, Url};

use super::Trouble;

/// Where `text`, found at `from`, leads, if it may be followed: http or https, no user or password, never from https down
/// to http, and another host by https alone. A playlist is written by others: it must not make this box ask the machines
/// beside it, which mostly speak plain http.
pub(super) fn follow(source: &Url, from: &Url, text: &str) -> Result<Url, Trouble> {
    let to = from.join(text).map_err(|_| Trouble::Address("what it names is not a URL"))?;
    let plain = match to.scheme() {
        "https" => false,
        "http" => true,
        _ => return Err(Trouble::Address("it leads to something that is not http or https")),
    };
    if !to.username().is_empty() || to.password().is_some() {
        return Err(Trouble::Address("it leads to an address with a user or password in it"));
    }
    if plain && from.scheme() == "https" {
        return Err(Trouble::Address("it leads from https down to http"));
    }
    if plain && to.host() != source.host() {
        return Err(Trouble::Address("it leads to another host by plain http"));
    }
    Ok(to)
}

/// May the token travel there? To where the configuration says, and to the same host when http became https.
pub(super) fn takes_token(source: &Url, to: &Url) -> bool {
    let upgraded = source.scheme() == "http" && to.scheme() == "https" && source.host() == to.host();
    matches!(to.origin(), Origin::Tuple(..)) && (to.origin() == source.origin() || upgraded)
}

/// An address without its query, which may hold a token.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Refused only for URLs that hold neither.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

/// The address of a trickle channel's segment: its number behind the path, the query where it was.
pub(super) fn segment(channel: &Url, number: &str) -> Url {
    let mut url = channel.clone();
    let path = format!("{}/{number}", channel.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_playlist_leads_to_its_own_host_and_by_https_elsewhere() {
        let cases = [
            ("http://a.test/live/x.m3u8", "1.ts", Some("http://a.test/live/1.ts")),
            ("http://a.test/live/x.m3u8", "//a.test:81/1.ts?k=1", Some("http://a.test:81/1.ts?k=1")),
            ("http://a.test/x.m3u8", "https://cdn.test/1.ts", Some("https://cdn.test/1.ts")),
            ("http://a.test/x.m3u8", "http://169.254.169.254/latest", None),
            ("http://a.test/x.m3u8", "http://localhost:8899/", None),
            ("https://a.test/x.m3u8", "http://a.test/1.ts", None),
            ("http://a.test/x.m3u8", "file:///etc/passwd", None),
            ("http://a.test/x.m3u8", "http://me:secret@a.test/1.ts", None),
            ("http://a.test/x.m3u8", "http://[", None),
        ];
        for (from, text, expected) in cases {
            let got = follow(&url(from), &url(from), text).ok();
            assert_eq!(got.as_ref().map(Url::as_str), expected, "{text} in {from}");
        }
    }

    #[test]
    fn the_token_stays_where_the_configuration_sent_it() {
        let source = url("http://a.test/x.m3u8");
        assert!(takes_token(&source, &url("http://a.test/other/1.ts")));
        assert!(takes_token(&source, &url("https://a.test/1.ts")));
        assert!(!takes_token(&source, &url("http://a.test:81/1.ts")));
        assert!(!takes_token(&source, &url("https://cdn.test/1.ts")));
        assert!(!takes_token(&url("https://a.test/x"), &url("http://a.test/x")));
    }

    #[test]
    fn queries_are_not_shown() {
        assert_eq!(shown(&url("https://a.test/live.m3u8?token=secret#x")), "https://a.test/live.m3u8");
        assert_eq!(segment(&url("http://a.test/ch/?k=1"), "-1").as_str(), "http://a.test/ch/-1?k=1");
    }
}
