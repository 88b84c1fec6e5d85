//! What is costly about a new session and needs nothing of the SFU's state: reading the offer, and making a connection with
//! its TLS context. Whoever asks does it on a thread of its own, so that no picture waits for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use str0m::Rtc;
use str0m::change::SdpOffer;

use super::{Identity, publisher, viewer};
use crate::sfu::codecs;
use crate::sfu::fast::Capture;
use crate::sfu::sdp::{Offer, Refusal, Side};

/// Connections for viewers that are kept ready.
const SPARES: usize = 2;

/// Prepares sessions; cheap to clone, for any thread.
#[derive(Clone)]
pub struct Preparer {
    identity: Arc<Identity>,
    spares: Arc<Mutex<Vec<Connection>>>,
}

/// An offer that was read, with a connection that can answer it; or why there is none.
pub struct Prepared(pub(in crate::sfu) Result<Ready, Refusal>);

/// The same when nothing was wrong.
pub(in crate::sfu) struct Ready {
    pub(super) offer: Offer,
    pub(super) parsed: SdpOffer,
    pub(super) connection: Connection,
}

/// A connection that nobody has used yet.
pub(super) struct Connection {
    pub(super) rtc: Box<Rtc>,
    /// Where a viewer's keys arrive; none where str0m seals.
    pub(super) capture: Option<Capture>,
}

impl Preparer {
    pub(in crate::sfu) fn new(identity: Identity) -> Preparer {
        Preparer { identity: Arc::new(identity), spares: Arc::default() }
    }

    /// For a viewer's offer.
    pub fn viewer(&self, offer: &str, now: Instant) -> Prepared {
        self.prepare(Side::Viewer, offer, now)
    }

    /// For a publisher's offer.
    pub fn publisher(&self, offer: &str, now: Instant) -> Prepared {
        self.prepare(Side::Publisher, offer, now)
    }

    /// Makes up for the spare connections that were used.
    pub fn refill(&self, now: Instant) {
        while self.lock().len() < SPARES {
            // Made while nobody is kept waiting by the lock; one too many does no harm.
            let Ok(spare) = guarded(|| self.identity.connection(Side::Viewer, now)) else { return };
            self.lock().push(spare);
        }
    }

    fn prepare(&self, side: Side, offer: &str, now: Instant) -> Prepared {
        let ready = Offer::read(offer, side).and_then(|offer| {
            let parsed =
                guarded(|| SdpOffer::from_sdp_string(&offer.text))?.map_err(|error| error.to_string())?;
            let spare = if side == Side::Viewer { self.lock().pop() } else { None };
            let connection = match spare {
                Some(spare) => spare,
                None => guarded(|| self.identity.connection(side, now))?,
            };
            Ok(Ready { offer, parsed, connection })
        });
        Prepared(ready)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    fn connection(&self, side: Side, now: Instant) -> Connection {
        let mut config = Rtc::builder()
            .set_crypto_provider(self.crypto.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_rtp_mode(true);
        config = match side {
            Side::Viewer => config.set_extension_map(viewer::extensions()),
            Side::Publisher => config
                .set_extension_map(publisher::extensions())
                .set_stats_interval(Some(publisher::STATS_EVERY)),
        };
        *config.codec_config() = match side {
            Side::Viewer => codecs::answered(),
            Side::Publisher => codecs::taken(),
        };
        let rtc = Box::new(config.build(now));
        Connection { rtc, capture: Capture::of_last_built().filter(|_| side == Side::Viewer) }
    }
}

/// What somebody else's words make panic is their mistake alone.
fn guarded<T>(make: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(make)).map_err(|_| Refusal::from("it cannot be followed"))
}
