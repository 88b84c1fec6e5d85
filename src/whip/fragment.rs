//! `application/trickle-ice-sdpfrag` (RFC 8840 §9), as RFC 9725 §4.3 uses it: candidates, or an ICE restart.

use std::fmt;
use std::str::FromStr;

/// More candidates than any host has addresses; a fragment with more is refused.
const MOST_CANDIDATES: usize = 64;

/// One fragment. All media is bundled, so there is one set of credentials and one media section at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// `a=ice-ufrag`
    pub ufrag: Option<String>,
    /// `a=ice-pwd`
    pub pwd: Option<String>,
    /// `a=mid` of the media section that the candidates are of.
    pub mid: Option<String>,
    /// Candidates as after `a=`: `candidate:…`.
    pub candidates: Vec<String>,
}

/// Why a text is not a fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// A line is not `a=…`, `m=…` or another SDP line.
    #[error("line {0} of the fragment is not an SDP line")]
    Line(usize),
    /// Neither credentials nor candidates nor their end.
    #[error("the fragment says nothing: it has no `a=candidate`, `a=end-of-candidates` or `a=ice-ufrag`")]
    Empty,
    /// Credentials contradict each other.
    #[error("the fragment has more than one `a={0}`")]
    Twice(&'static str),
    /// Too long to be honest.
    #[error("the fragment has more than 64 candidates")]
    TooMany,
}

impl FromStr for Fragment {
    type Err = FragmentError;

    fn from_str(text: &str) -> Result<Self, FragmentError> {
        let mut fragment = Fragment::default();
        let mut says_something = false;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (kind, value) = line.split_once('=').ok_or(FragmentError::Line(index + 1))?;
            if kind.len() != 1 || !kind.bytes().all(|b| b.is_ascii_lowercase()) || value.is_empty() {
                return Err(FragmentError::Line(index + 1));
            }
            if kind != "a" {
                continue;
            }
            let (name, content) = value.split_once(':').unwrap_or((value, ""));
            match name {
                "ice-ufrag" => {
                    set(&mut fragment.ufrag, content, "ice-ufrag")?;
                    says_something = true;
                }
                "ice-pwd" => set(&mut fragment.pwd, content, "ice-pwd")?,
                "mid" => fragment.mid = Some(content.to_owned()),
                "candidate" if fragment.candidates.len() == MOST_CANDIDATES => {
                    return Err(FragmentError::TooMany);
                }
                "candidate" => {
                    fragment.candidates.push(value.trim_end().to_owned());
                    says_something = true;
                }
                "end-of-candidates" => says_something = true,
                _ => {}
            }
        }
        if says_something { Ok(fragment) } else { Err(FragmentError::Empty) }
    }
}

/// Credentials may be said once for the session and again in the media section, if they are the same.
fn set(slot: &mut Option<String>, value: &str, name: &'static str) -> Result<(), FragmentError> {
    match slot {
        Some(known) if known != value => Err(FragmentError::Twice(name)),
        _ => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

impl fmt::Display for Fragment {
    /// Writes it as the answer to an ICE restart: with the pseudo media section of RFC 8840 §9.2, and no candidates to come.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ufrag) = &self.ufrag {
            write!(f, "a=ice-ufrag:{ufrag}\r\n")?;
        }
        if let Some(pwd) = &self.pwd {
            write!(f, "a=ice-pwd:{pwd}\r\n")?;
        }
        write!(f, "m=audio 9 RTP/AVP 0\r\n")?;
        if let Some(mid) = &self.mid {
            write!(f, "a=mid:{mid}\r\n")?;
        }
        for candidate in &self.candidates {
            write!(f, "a={candidate}\r\n")?;
        }
        write!(f, "a=end-of-candidates\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_9725_is_read() {
        let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
                    a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
                    a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
                    a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
                    a=end-of-candidates\r\n";
        let fragment: Fragment = text.parse().unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(fragment.mid.as_deref(), Some("0"));
        assert_eq!(fragment.candidates.len(), 2);
        assert!(
            fragment.candidates[1].starts_with("candidate:473322822 1 tcp "),
            "{:?}",
            fragment.candidates
        );
        assert_eq!(fragment.to_string().parse(), Ok(fragment));
    }

    #[test]
    fn what_says_nothing_or_contradicts_itself_is_refused() {
        assert_eq!("".parse::<Fragment>(), Err(FragmentError::Empty));
        assert_eq!("m=audio 9 RTP/AVP 0\r\na=mid:0\r\n".parse::<Fragment>(), Err(FragmentError::Empty));
        assert_eq!("a=ice-ufrag:a\r\n{}\r\n".parse::<Fragment>(), Err(FragmentError::Line(2)));
        let twice = "a=ice-ufrag:a\na=ice-ufrag:b\n";
        assert_eq!(twice.parse::<Fragment>(), Err(FragmentError::Twice("ice-ufrag")));
        let flood = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n".repeat(65);
        assert_eq!(flood.parse::<Fragment>(), Err(FragmentError::TooMany));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(([am]=[a-z:-]{0,12}|\\PC{0,12})\r?\n){0,9}") {
            let _ = text.parse::<Fragment>();
        }
    }
}
