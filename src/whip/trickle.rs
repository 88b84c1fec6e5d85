//! A publisher's candidates (RFC 8840): put into its offer, or sent after it as fragments that [`super::Fragment`] reads.

/// The content type of a fragment.
pub const CONTENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// A candidate longer than this is not one.
const LONGEST: usize = 512;

/// One local ICE candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which m-line of the offer it belongs to, from 0.
    pub m_line: usize,
    /// As after `a=`: `candidate:…`.
    line: String,
}

impl Candidate {
    /// Takes `candidate:…`, with or without `a=` before it. None when it is anything else than one such line.
    pub fn new(m_line: usize, line: &str) -> Option<Candidate> {
        let line = line.trim();
        let line = line.strip_prefix("a=").unwrap_or(line);
        let fits = line.starts_with("candidate:") && line.len() <= LONGEST && !line.contains(['\r', '\n']);
        fits.then(|| Candidate { m_line, line: line.to_owned() })
    }

    /// As after `a=`.
    pub fn line(&self) -> &str {
        &self.line
    }
}

/// What of an offer every fragment repeats: the bundle's first m-line and the ICE session's name. Fragments hold this
/// m-line alone (RFC 9725 §4.3.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The whole `a=group:BUNDLE …` line, where there is one.
    group: Option<String>,
    /// The whole m= line.
    media: String,
    mid: String,
    ufrag: String,
    pwd: String,
    /// Which m-line it is, from 0.
    pub m_line: usize,
}

impl Head {
    /// Reads it from an offer; none when the offer lacks a mid, a user fragment or a password.
    pub fn of(offer: &str) -> Option<Head> {
        let mut sections: Vec<Vec<&str>> = vec![Vec::new()];
        for line in offer.lines().map(str::trim_end) {
            if line.starts_with("m=") {
                sections.push(Vec::new());
            }
            if let Some(section) = sections.last_mut() {
                section.push(line);
            }
        }
        let (session, media) = sections.split_first()?;
        let find = |lines: &[&str], name: &str| {
            lines.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        let group = session.iter().find(|line| line.starts_with("a=group:BUNDLE ")).copied();
        let tagged = group.and_then(|line| line.split_whitespace().nth(1));
        let mid = |lines: &Vec<&str>| find(lines, "a=mid:");
        let m_line = match tagged {
            Some(tag) => media.iter().position(|lines| mid(lines).as_deref() == Some(tag))?,
            None => 0,
        };
        let lines = media.get(m_line)?;
        Some(Head {
            group: group.map(str::to_owned),
            media: (*lines.first()?).to_owned(),
            mid: mid(lines)?,
            ufrag: find(lines, "a=ice-ufrag:").or_else(|| find(session, "a=ice-ufrag:"))?,
            pwd: find(lines, "a=ice-pwd:").or_else(|| find(session, "a=ice-pwd:"))?,
            m_line,
        })
    }

    /// A fragment with these candidates, those of other m-lines left out; `end` says that no more will come.
    pub fn fragment(&self, candidates: &[Candidate], end: bool) -> String {
        let mut text = String::new();
        let mut line = |parts: &[&str]| {
            parts.iter().for_each(|part| text.push_str(part));
            text.push_str("\r\n");
        };
        if let Some(group) = &self.group {
            line(&[group]);
        }
        line(&[&self.media]);
        line(&["a=mid:", &self.mid]);
        line(&["a=ice-ufrag:", &self.ufrag]);
        line(&["a=ice-pwd:", &self.pwd]);
        for candidate in candidates.iter().filter(|candidate| candidate.m_line == self.m_line) {
            line(&["a=", &candidate.line]);
        }
        if end {
            line(&["a=end-of-candidates"]);
        }
        text
    }
}

/// An offer with candidates put at the end of their m-lines; `end` says that there are no more. Lines end in CR LF.
pub fn with_candidates(offer: &str, candidates: &[Candidate], end: bool) -> String {
    let mut text = String::with_capacity(offer.len() + candidates.len() * 96);
    let mut put = |line: &str| {
        text.push_str(line);
        text.push_str("\r\n");
    };
    let close = |m_line: Option<usize>, put: &mut dyn FnMut(&str)| {
        let Some(m_line) = m_line else { return };
        for candidate in candidates.iter().filter(|candidate| candidate.m_line == m_line) {
            put(&format!("a={}", candidate.line));
        }
        if end && candidates.iter().any(|candidate| candidate.m_line == m_line) {
            put("a=end-of-candidates");
        }
    };
    let mut m_line: Option<usize> = None;
    for line in offer.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            close(m_line, &mut put);
            m_line = Some(m_line.map_or(0, |last| last + 1));
        }
        put(line.trim_end());
    }
    close(m_line, &mut put);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\na=group:BUNDLE v0 a1\r\na=ice-ufrag:sess\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:a1\r\n";

    fn host(m_line: usize) -> Candidate {
        Candidate::new(m_line, "a=candidate:1 1 udp 1 10.0.0.1 5000 typ host").unwrap()
    }

    #[test]
    fn a_fragment_holds_the_bundles_first_line_alone() {
        let head = Head::of(OFFER).unwrap();
        assert_eq!(
            head.fragment(&[host(0), host(1)], true),
            "a=group:BUNDLE v0 a1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v0\r\na=ice-ufrag:EsAw\r\n\
             a=ice-pwd:P2uYro\r\na=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\na=end-of-candidates\r\n"
        );
        let read: crate::whip::Fragment = head.fragment(&[host(0)], false).parse().unwrap();
        assert_eq!((read.ufrag.as_deref(), read.mid.as_deref()), (Some("EsAw"), Some("v0")));
        assert_eq!(read.candidates, [host(0).line()]);
        assert!(Head::of("v=0\r\nm=video 9 X 96\r\na=mid:0\r\n").is_none(), "no ICE session to name");
        assert!(Head::of(&OFFER.replace("v0 a1", "zz")).is_none(), "the bundle names no line");
    }

    #[test]
    fn candidates_go_to_the_end_of_their_lines() {
        let text = with_candidates(&OFFER.replace("\r\n", "\n"), &[host(0)], true);
        let expected = OFFER.replace(
            "a=ice-pwd:P2uYro\r\n",
            "a=ice-pwd:P2uYro\r\na=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\na=end-of-candidates\r\n",
        );
        assert_eq!(text, expected);
        let last = with_candidates(OFFER, &[host(1)], false);
        assert!(last.ends_with("a=mid:a1\r\na=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\n"), "{last}");
        assert_eq!(with_candidates(OFFER, &[], true), OFFER);
    }

    #[test]
    fn what_is_not_one_candidate_is_none() {
        for bad in [
            "",
            "candidate",
            "a=mid:0",
            "candidate:1\r\na=setup:active",
            &format!("candidate:{}", "1".repeat(600)),
        ] {
            assert_eq!(Candidate::new(0, bad), None, "{bad:?}");
        }
    }
}
