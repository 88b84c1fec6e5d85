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
//! - **A server in doubt is asked.** Silence counts by itself after four seconds at the soonest. What HTTP says besides
//!   tells sooner of a server that was killed: it does not know the session any more, it closed the connection that it
//!   kept as long as all was well, or nobody listens there. Each counts together with late reports only, so a server whose
//!   HTTP is slow, dead or moody keeps its session as long as it is heard. What only the driver can read, a Broadcast Box's
//!   status, it is asked for by [`Machine::doubts`].
//! - **Broadcast Box** takes the key as base64 ([`KeyForm`]); it is recognised by its 201.
//!
//! # The client's rules of RFC 9725
//!
//! Each with the test that holds it; `tests/it/whip_rules.rs` looks that these exist.
//!
//! | Section | Rule | Test |
//! |---|---|---|
//! | 4.1 | status codes count by their class; which ones have a meaning of their own is below | `each_answer_has_its_state_its_words_and_its_wait` |
//! | 4.1 | `Retry-After` with a 503 is heeded, within bounds | `what_a_server_asks_for_is_honoured_within_bounds` |
//! | 4.2 | the offer goes out by POST as `application/sdp` | `a_post_says_what_it_is_and_carries_the_key` |
//! | 4.2 | media is `sendonly`, the agent a full one (no `ice-lite`) | `an_offer_keeps_the_constraints_of_whip` |
//! | 4.2 | the session is at `Location`, resolved against the request's URL | `locations_are_resolved_against_the_request` |
//! | 4.2 | DELETE ends it, without a condition; whatever is answered | `whatever_a_delete_is_answered_it_is_done` |
//! | 4.2 | lost consent ends it as well | `disconnected_is_endured_for_five_seconds` |
//! | 4.3.1 | candidates go to the session's URL by PATCH as `application/trickle-ice-sdpfrag`, with the 201's `ETag` in `If-Match` | `only_a_server_that_shows_it_takes_patches_gets_them` |
//! | 4.3.1 | a 4xx to PATCH ends trickling, not the session | `a_patch_that_fails_ends_trickling_and_not_the_session` |
//! | 4.3.2 | candidates wait for the 201, and go out together | `a_server_that_takes_patches_gets_the_next_offer_at_once` |
//! | 4.3.2 | a fragment names the bundle's first m-line alone | `a_fragment_holds_the_bundles_first_line_alone` |
//! | 4.3.2 | answers to an earlier session's PATCH are not heard | `a_loss_drops_the_patch_that_is_out` |
//! | 4.4.1 | all media is in one bundle, with `rtcp-mux` and `rtcp-mux-only` | `an_offer_keeps_the_constraints_of_whip` |
//! | 4.4.2 | one MediaStream, one track of each kind at most | `an_offer_keeps_the_constraints_of_whip` |
//! | 4.4.3 | an answer that takes the picture not, or nothing, is no session | `each_answer_has_its_state_its_words_and_its_wait` |
//! | 4.4.4 | `setup:actpass` | `an_offer_keeps_the_constraints_of_whip` |
//! | 4.5 | 307 and 308 repeat the POST: method, body, and the key where it may go | `redirects_repeat_the_request_and_keep_the_key_at_home` |
//! | 4.5 | redirects that never end are not followed for ever | `five_redirects_are_followed_and_no_more` |
//! | 4.6 | `Link` with `rel="ice-server"` is read from the 201, unknown ones are passed over | `ice_servers_are_read_with_their_credentials` |
//! | 4.6 | these servers are used, and not asked for by OPTIONS | `ice_servers_go_with_the_answer_and_with_the_next_transport` |
//! | 4.6 | the configuration may name others | `a_turn_server_of_the_configuration_is_asked_and_its_password_never_told` |
//! | 4.7.1 | every request carries the key, and none does where there is none | `every_request_carries_the_key_and_none_does_without_one` |
//! | 4.9 | extensions that are not known change nothing | `broadcast_box_is_known_by_its_answer_and_says_where_to_watch` |
//!
//! What we do otherwise, knowingly:
//!
//! - 4.1 has clients treat a class as a whole. 401, 403, 404, 405, 406, 409 and 429 get words of their own here, and what
//!   follows: an operator who reads "not the key" is helped, one who reads "4xx" is not. Codes not known count by class.
//! - 4.2 wants HTTPS. `http` is published to where the configuration says so: servers on the same machine have no
//!   certificate.
//! - 4.3.3, ICE restarts: none, see above.
//! - 4.5: the key does not follow a redirect to another origin, although the request does.
//! - 4.8, simulcast: one layer is offered.

mod endpoint;
mod machine;
mod pace;
mod pulse;
mod state;
mod verdict;
mod wire;
mod witness;
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
