//! The keys that DTLS gives str0m, as it hands them over: str0m takes its DTLS from whoever implements its public traits,
//! so one that passes everything on and looks at the keying material stands in between.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

/// A datagram that str0m is given to send and that is never sent: where it would go is where media has to go.
pub(in crate::sfu) const PROBE: &[u8] = b"\x14where to";

/// How often OpenSSL is asked whether something of a handshake is to be sent again. It waits a second, then twice as long
/// each time (RFC 6347 §4.2.4.1), but has nothing that would wake it.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What DTLS negotiated (RFC 5764 §4.2).
pub(in crate::sfu) struct Captured {
    pub(super) profile: SrtpProfile,
    /// Both sides' keys, then both sides' salts.
    pub(super) material: Vec<u8>,
    /// Ours come first: we were the DTLS client.
    pub(super) active: bool,
}

/// Keys are not for logs.
impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Captured({:?})", self.profile)
    }
}

/// Where one peer's keys arrive.
#[derive(Clone, Debug, Default)]
pub(in crate::sfu) struct Capture(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    captured: Option<Captured>,
    probe: bool,
}

thread_local! {
    /// str0m makes its DTLS while it is built; this is of the one that was built last.
    static BUILT: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

impl Capture {
    /// `crypto` with a DTLS whose keys can be captured.
    pub(in crate::sfu) fn provider(crypto: &CryptoProvider) -> CryptoProvider {
        static PROVIDER: OnceLock<Between> = OnceLock::new();
        let inner = crypto.dtls_provider;
        CryptoProvider { dtls_provider: PROVIDER.get_or_init(|| Between(inner)), ..crypto.clone() }
    }

    /// Of the `Rtc` that this thread built last; none where that has another provider.
    pub(in crate::sfu) fn of_last_built() -> Option<Capture> {
        BUILT.with(|built| built.borrow_mut().take())
    }

    /// The keys, once.
    pub(in crate::sfu) fn take(&self) -> Option<Captured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).captured.take()
    }

    /// Has str0m send a [`PROBE`] when it is polled next.
    pub(in crate::sfu) fn probe(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).probe = true;
    }
}

/// Passes everything on to another provider.
#[derive(Debug)]
struct Between(&'static dyn DtlsProvider);

impl DtlsProvider for Between {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let capture = Capture::default();
        BUILT.with(|built| *built.borrow_mut() = Some(capture.clone()));
        let inner = self.0.new_dtls(certificate, now, version, mtu)?;
        Ok(Box::new(Watched { inner, capture, handshake: Handshake::NotBegun }))
    }

    fn is_test(&self) -> bool {
        self.0.is_test()
    }
}

#[derive(Debug)]
enum Handshake {
    NotBegun,
    /// OpenSSL is asked again then.
    UnderWay(Instant),
    Over,
}

#[derive(Debug)]
struct Watched {
    inner: Box<dyn DtlsInstance>,
    capture: Capture,
    handshake: Handshake,
}

impl DtlsInstance for Watched {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let mut slot = self.capture.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut slot.probe) && buffer.len() >= PROBE.len() {
            let room = &mut buffer[..PROBE.len()];
            room.copy_from_slice(PROBE);
            return DtlsOutput::Packet(room);
        }
        let active = self.inner.is_active();
        let output = self.inner.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let material = material.to_vec();
            slot.captured = Some(Captured { profile: *profile, material, active });
            self.handshake = Handshake::Over;
        }
        match (output, &self.handshake) {
            (DtlsOutput::Timeout(at), Handshake::UnderWay(ask_at)) => DtlsOutput::Timeout(at.min(*ask_at)),
            (output, _) => output,
        }
    }

    /// str0m calls it when the handshake begins, and when a time that it was given has come.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)?;
        let asked = match self.handshake {
            Handshake::Over => return Ok(()),
            Handshake::UnderWay(ask_at) if now < ask_at => return Ok(()),
            Handshake::UnderWay(_) => true,
            Handshake::NotBegun => false,
        };
        self.handshake = Handshake::UnderWay(now + ASK_EVERY);
        // OpenSSL looks at its clock whenever it is to read.
        if asked { self.inner.handle_packet(&[]) } else { Ok(()) }
    }

    fn send_application_data(&mut self, bytes: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.send_application_data(bytes)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
