//! One WHIP publishing session with reconnection (RFC 9725), as a pure state machine.
//!
//! [`Machine`] is told what happened ([`Input`]) and when; it says what to do ([`Action`]) and when to be woken
//! ([`Machine::deadline`]). It knows no socket, no media library and no clock, so every fault plays in virtual time.
//! Who drives it has three duties: not to follow redirects itself, to read at most [`BODY_LIMIT`] bytes of an answer,
//! and to report nothing more about a request that it was told to cancel.
//!
//! ```text
//!             start               201, ICE up           loss · codec changed
//!  Idle ─────────────> Connecting ───────────> Live ──────────────┐
//!                       │  ^  ^                                   │
//!   5xx · no answer ────┤  │  └──── due ──── BackingOff <─────────┤  0.5 → 15 s, or what Retry-After says;
//!                       │  │                                      │  1 to 2 s where nobody listens
//!   "already a host" ───┤  └─────── due ──── HostBusy             │  2 to 3 s for 40 s, then 30 s
//!   401 · 403 ──────────┤──> Refused                              │
//!   404 · 405 · 301 ────┤──> WrongUrl                             │  these four stay until start;
//!   "invalid offer" ────┤──> InvalidOffer   (or the codec changes)│  InvalidOffer and CodecRefused
//!   no such codec ──────┘──> CodecRefused   (or the codec changes)│  until the codec changes, too
//!                                                                 │
//!  Stopped <── DELETE answered or given up ── Stopping <── stop ──┘
//! ```
//!
//! Decisions where the RFC or the servers leave room:
//!
//! - **Trickle.** The first offer to a server goes out complete, or after 2 s with what was gathered. Only a 201 with
//!   `Location` and either `ETag` or an `Accept-Patch` of sdpfrags shows that PATCH works; from then on offers go out
//!   at once. Broadcast Box never counts as such. A PATCH that fails ends trickling, not the session. ICE restarts are
//!   never attempted, ETag or not: a new session is as fast, and few servers restart.
//! - **The key goes where the operator sent it.** It is sent to the configured URL's origin, and to the same host when
//!   a redirect or `Location` upgrades http to https; to no other origin, and never from https down to http. Where a
//!   redirect made a request go without it, words say so.
//! - **A wrong URL stops, but not one that has worked.** Proxies answer 404 while a server restarts. Once a URL gave a
//!   session, such answers are waited out; the same holds for 400s that nobody understands.
//! - **A session is DELETEd** on stop and before any new one; when no answer came, once more before the next attempt,
//!   as long as the server may still hold it (40 s; consent has expired by then, RFC 7675). Whatever is answered counts
//!   as done.
//! - **A server in doubt is asked.** Silence counts by itself after four seconds at the soonest. Meanwhile the driver asks
//!   over HTTP whether anybody listens there ([`Machine::doubts`]), which tells at once of a server that was killed.
//! - **Broadcast Box** takes the key as base64 ([`KeyForm`]); it is recognised by its 201.

mod endpoint;
mod machine;
mod pace;
mod pulse;
mod state;
mod verdict;
mod wire;
mod words;

pub use endpoint::{Bearer, Endpoint, EndpointError, KeyForm};
pub use machine::Machine;
pub use state::{Phase, State};
pub use wire::{
    Action, BODY_LIMIT, Failure, FailureKind, IceState, Input, Request, RequestId, Response, TransportEvent,
    TransportId,
};

#[cfg(test)]
mod tests;
