//! What servers and HTTP clients say, made fit for people: one short line, no secret, no URL beyond its origin.

use url::Url;

use super::endpoint::{origin, url_secrets};

/// Longer texts are cut.
const LONGEST: usize = 160;

/// Knows what must not be seen.
pub(super) struct Veil {
    secrets: Vec<String>,
}

impl Veil {
    pub(super) fn new(secrets: Vec<String>) -> Self {
        let mut veil = Veil { secrets };
        veil.sort();
        veil
    }

    /// A session's URL is a capability: who knows it can end the session.
    pub(super) fn with(mut self, session: &Url) -> Veil {
        self.secrets.extend(url_secrets(session));
        self.sort();
        self
    }

    /// Long ones first, so that no rest of one stays because another stands in it.
    fn sort(&mut self) {
        self.secrets.retain(|secret| !secret.is_empty());
        self.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.secrets.dedup();
    }

    /// One line of at most 160 characters; empty when nothing is to be seen, or when it is a web page.
    pub(super) fn tame(&self, text: &str) -> String {
        if is_web_page(text) {
            return String::new();
        }
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect();
        // Secrets before URLs: one with a blank in it would stand out of its URL's end.
        let mut line = words.join(" ");
        for secret in &self.secrets {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), "…");
            }
        }
        let line = origins_only(&line).replace('`', "'");
        match line.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &line[..at]),
            None => line,
        }
    }
}

/// Is it HTML?
pub(super) fn is_web_page(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html") || start.starts_with("<?xml")
}

/// Every http(s) URL in a text cut to its origin.
fn origins_only(text: &str) -> String {
    let mut seen = String::with_capacity(text.len().min(1024));
    let mut rest = text;
    while let Some(at) = rest.find("http") {
        seen.push_str(&rest[..at]);
        rest = &rest[at..];
        if !rest.starts_with("http://") && !rest.starts_with("https://") {
            seen.push_str("http");
            rest = &rest["http".len()..];
            continue;
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')');
        let (url, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        seen.push_str(&Url::parse(url).map_or_else(|_| "…".to_owned(), |url| origin(&url)));
        rest = after;
    }
    seen.push_str(rest);
    seen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_becomes_one_short_line_without_secrets() {
        let veil = Veil::new(vec!["hunter2".to_owned(), "aHVudGVyMg==".to_owned(), String::new()]);
        let cases = [
            ("  no\r\n\tsession   found \n", "no session found"),
            ("token hunter2 (aHVudGVyMg==) is wrong", "token … (…) is wrong"),
            (
                "error for url (https://x.example:8443/a/hunter2?b=c): refused",
                "error for url (https://x.example:8443): refused",
            ),
            ("http is not https", "http is not https"),
            ("<!DOCTYPE html><title>x</title>", ""),
            ("\u{1b}[31mred`", "[31mred'"),
        ];
        for (text, line) in cases {
            assert_eq!(veil.tame(text), line, "{text:?}");
        }
        assert_eq!(veil.tame(&"é".repeat(500)).chars().count(), LONGEST + 1);
    }

    proptest! {
        #[test]
        fn no_text_lets_the_secret_through(before in "\\PC{0,40}", after in ".{0,200}", times in 1usize..40) {
            let veil = Veil::new(vec!["s3cret-Key".to_owned()]);
            let line = veil.tame(&format!("{before}{}{after}", "s3cret-Key".repeat(times)));
            prop_assert!(!line.contains("s3cret"), "{line}");
            prop_assert!(line.chars().count() <= LONGEST + 1);
        }
    }
}
