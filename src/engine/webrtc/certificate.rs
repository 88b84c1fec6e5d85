//! The certificate of a session. `webrtcbin` makes RSA ones, and has one for all sessions of a process; peers whose DTLS
//! takes ECDSA alone (aiortc, str0m's own) then find no common cipher.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509NameBuilder};

/// For how long it is good; no session lasts as long.
const DAYS: u32 = 365;

/// A self-signed certificate with its key.
pub(super) struct Certificate {
    /// Both as PEM: secret.
    pub(super) pem: String,
    /// SHA-256, as `a=fingerprint` has it: `AB:CD:…`
    pub(super) fingerprint: String,
}

impl Certificate {
    /// A new one, on the curve that WebRTC asks for (RFC 8827 §6.5).
    pub(super) fn new() -> Result<Certificate, ErrorStack> {
        let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&curve)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "WebRTC")?;
        let name = name.build();
        let mut serial = BigNum::new()?;
        serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        // A box without a battery may have a wrong clock; nobody looks at these dates, but some parse them.
        builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
        builder.set_pubkey(&key)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let certificate = builder.build();
        let digest = certificate.digest(MessageDigest::sha256())?;
        let fingerprint: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let mut pem = certificate.to_pem()?;
        pem.extend(key.private_key_to_pem_pkcs8()?);
        Ok(Certificate {
            pem: String::from_utf8_lossy(&pem).into_owned(),
            fingerprint: fingerprint.join(":"),
        })
    }
}

/// The description with this fingerprint in place of whichever stand there.
pub(super) fn with_fingerprint(sdp: &str, fingerprint: &str) -> String {
    sdp.lines()
        .map(|line| match line.starts_with("a=fingerprint:") {
            true => format!("a=fingerprint:sha-256 {fingerprint}\r\n"),
            false => format!("{line}\r\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_is_new_and_its_fingerprint_takes_the_place_of_every_other() {
        let (one, other) = (Certificate::new().unwrap(), Certificate::new().unwrap());
        assert_ne!(one.fingerprint, other.fingerprint);
        assert_eq!(one.fingerprint.len(), 32 * 3 - 1);
        assert!(one.pem.contains("BEGIN CERTIFICATE") && one.pem.contains("BEGIN PRIVATE KEY"));
        let sdp = "v=0\r\na=fingerprint:sha-256 00\r\nm=audio 9\r\na=fingerprint:sha-1 11\r\na=mid:0\r\n";
        assert_eq!(
            with_fingerprint(sdp, "AB"),
            "v=0\r\na=fingerprint:sha-256 AB\r\nm=audio 9\r\na=fingerprint:sha-256 AB\r\na=mid:0\r\n"
        );
    }
}
