//! The bundled SFU: packets of a publisher out to every viewer's browser.
//!
//! Everything but [`shell`] is a sans-IO core: it reads no clock and opens no socket; datagrams, frames and `now` come
//! in as arguments, datagrams go out through a [`Wire`].
//!
//! ```text
//!  LocalFeed ─> hand-over ─> Timeline ─> Ring ─> per viewer: Gate ─> Munger ─> Fast (seals) ─> Batcher ─> Wire
//!  socket ────> Demux ──────────│─────────────────────────────────────> Peer (owns the Rtc: ICE, DTLS)
//!                               └─ Ingest <─ Order <───────────────────┘ a publisher's
//! ```
//!
//! This is the only module that names `str0m`, and `Peer` is the only type that owns an `Rtc`.

mod adapt;
mod batch;
mod codecs;
mod demux;
mod estimate;
mod fast;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod gate;
mod ingest;
mod keyframe;
mod keyframes;
mod munger;
mod order;
mod pair;
mod peer;
mod ring;
mod router;
mod said;
mod sdp;
mod session;
#[cfg(not(fuzzing))]
pub mod shell;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod timeline;
mod unannounced;
mod vp8;
mod wall_clock;

pub use batch::{Batch, Wire};
pub use pair::{Pair, Source, Transport};
pub use peer::{Prepared, Preparer};
pub use router::{FeedId, PublisherChange, SealedBy, Settings, Sfu};
pub use session::{
    Answer, LayerError, Patch, PatchError, Patched, Precondition, Role, SessionId, WhepError, WhipError,
};
#[cfg(not(fuzzing))]
pub use shell::{Handle, LocalFeed, Options, Room, SOCKET_BUFFER, StartError, candidates, network, start};
pub use stats::{Disconnect, LaneStats, PublisherKind, Stats, StreamStats, TcpStats, TrackStats};
