//! Names that appear in URLs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Words that are routes, so no stream can be called by them.
const RESERVED: [&str; 7] = ["api", "panel", "room", "metrics", "healthz", "readyz", "assets"];

/// Why a text is not a stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Not 1 to 64 characters of `[A-Za-z0-9_-]`.
    Malformed(String),
    /// A word the HTTP routes use.
    Reserved(String),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Malformed(name) => {
                write!(f, "`{name}` is not a stream name: 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`")
            }
            NameError::Reserved(name) => write!(f, "`{name}` is a route of the HTTP server"),
        }
    }
}

impl std::error::Error for NameError {}

/// A name under which media can be watched: `[A-Za-z0-9_-]{1,64}`, and no route's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The room: what stands before the first `-`, or the whole name.
    pub fn room(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }
}

/// `live`, the name of the box's own picture unless configured otherwise.
impl Default for StreamName {
    fn default() -> Self {
        StreamName("live".into())
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !fits {
            return Err(NameError::Malformed(text.chars().take(80).collect()));
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(StreamName(text.into()))
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_routes_or_malformed_are_refused() {
        for good in ["live", "a", "obs-2", "A_b-9", &"x".repeat(64)] {
            assert_eq!(good.parse::<StreamName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "ä", "a/b", "a.b", &"x".repeat(65)] {
            assert!(matches!(bad.parse::<StreamName>(), Err(NameError::Malformed(_))), "{bad:?}");
        }
        for bad in RESERVED {
            assert!(matches!(bad.parse::<StreamName>(), Err(NameError::Reserved(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_room_ends_at_the_first_dash() {
        let room = |name: &str| name.parse::<StreamName>().unwrap().room().to_owned();
        assert_eq!(room("show-cam-2"), "show");
        assert_eq!(room("live"), "live");
    }
}
