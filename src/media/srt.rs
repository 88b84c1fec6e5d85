//! Where an SRT connection leads, and who opens it.

use std::fmt;
use std::time::Duration;

/// Who opens an SRT connection; which way media goes has nothing to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtMode {
    /// This box calls the other side.
    Caller,
    /// The other side calls; this box waits at a port.
    Listener,
}

impl SrtMode {
    /// `caller` or `listener`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SrtMode::Caller => "caller",
            SrtMode::Listener => "listener",
        }
    }
}

/// One SRT connection, but for its passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtPeer {
    /// Who opens it.
    pub mode: SrtMode,
    /// A caller's other side, by name or address; a listener's own address, `0.0.0.0` for all of IPv4 and `::` for IPv6
    /// as well. IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// How long the receiver holds what it has, so that what was lost can come again; the larger one of both sides' rules.
    /// Whole milliseconds.
    pub latency: Duration,
    /// What a server chooses the stream by.
    pub streamid: Option<String>,
}

impl SrtPeer {
    /// What stands for nothing else in a URL: SRT's own default.
    pub const LATENCY: Duration = Duration::from_millis(120);
}

/// `srt://host:port`, for people.
impl fmt::Display for SrtPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { write!(f, "srt://[{host}]:{port}") } else { write!(f, "srt://{host}:{port}") }
    }
}
