//! Why something failed, in the classes a supervisor branches on.

use std::fmt;

/// The class of a failure. What the user reads is the message beside it; this decides who retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// What the user wrote cannot work; retrying changes nothing.
    Config,
    /// A capture device or sound card failed, is busy or is gone.
    Device,
    /// A GStreamer graph failed to build or stopped with an error.
    Graph,
    /// A server or route failed.
    Network,
    /// One remote peer misbehaved; only that peer ends.
    Peer,
    /// A bug in Capcast.
    Internal,
}

impl Fault {
    /// The word used in JSON, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Config => "config",
            Fault::Device => "device",
            Fault::Graph => "graph",
            Fault::Network => "network",
            Fault::Peer => "peer",
            Fault::Internal => "internal",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
