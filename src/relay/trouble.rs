//! What is wrong with a source, in words for people.

use std::time::Duration;

/// Why nothing comes, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The connection failed; why, in words.
    #[error("no connection to the server: {0}")]
    Connect(String),
    /// TLS failed.
    #[error("no secure connection to the server: {0}")]
    Tls(String),
    /// The connection ended before the answer did.
    #[error("the server broke off in the middle of its answer")]
    Cut,
    /// No head of an answer.
    #[error("the server has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    /// Too little of a body in too long.
    #[error("the server has stopped in the middle of a segment, or sends it drop by drop")]
    Stalled,
    /// A status that says no.
    #[error("the server answers {0}{cure}", cure = cure(*.0))]
    Status(u16),
    /// Neither of both is there.
    #[error("the server answers {0}: there is neither a playlist nor a trickle channel at this address")]
    Nothing(u16),
    /// More redirects than are followed.
    #[error("the server redirects in circles")]
    Circles,
    /// An address that is not followed.
    #[error("the server's answer is not followed: {0}")]
    Address(&'static str),
    /// A playlist that is none.
    #[error("the playlist cannot be read: {0}")]
    Playlist(&'static str),
    /// What is not decrypted.
    #[error("the segments are encrypted, which is not read: have the server offer them unencrypted")]
    Encrypted,
    /// What is not demultiplexed.
    #[error("the segments are fragmented MP4, which is not read: have the server make MPEG-TS segments")]
    FragmentedMp4,
    /// Some other content.
    #[error("what comes is not MPEG-TS: {0}")]
    NotTransportStream(&'static str),
    /// A body larger than is taken.
    #[error("{what} of more than {} MB is cut", .limit / 1_000_000)]
    TooBig {
        /// A playlist, a segment.
        what: &'static str,
        /// Bytes.
        limit: u64,
    },
    /// A segment that goes on and on.
    #[error("a segment that has not ended after {} s is cut", .0.as_secs())]
    Endless(Duration),
    /// A live playlist that stands still.
    #[error("the playlist has not changed for {} s", .0.as_secs())]
    Unchanged(Duration),
    /// It is over.
    #[error("the playlist has ended")]
    PlaylistEnded,
    /// It is over.
    #[error("the publisher has closed the channel")]
    ChannelClosed,
    /// It is there, but nobody publishes.
    #[error("nothing has been published for {} s", .0.as_secs())]
    Quiet(Duration),
    /// A server that does not speak the protocol.
    #[error("the server does not say which segment it gave: there is no `Lp-Trickle-Seq`")]
    Unnumbered,
    /// A part of a file was asked for, and all of it came.
    #[error("the server does not give parts of files, which its playlist asks for")]
    NoRanges,
}

const fn cure(status: u16) -> &'static str {
    match status {
        401 | 403 => ": it wants a token, or another one",
        404 | 410 => ": it is not there",
        429 | 503 => ": it is too busy",
        _ => "",
    }
}

impl Trouble {
    /// Would asking again soon be in vain, since only a person can change it?
    #[must_use]
    pub const fn lasts(&self) -> bool {
        matches!(
            self,
            Trouble::Encrypted
                | Trouble::FragmentedMp4
                | Trouble::Address(_)
                | Trouble::Status(401 | 403)
                | Trouble::NoRanges
                | Trouble::Unnumbered
        )
    }
}
