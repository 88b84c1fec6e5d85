//! SRTP with AES-GCM (RFC 7714) under keys derived as in RFC 3711 §4.3, by OpenSSL.

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use str0m::crypto::dtls::SrtpProfile;

use super::keys::Captured;
use super::window::Window;

/// Authentication tag of every packet, and the index of an SRTCP packet.
pub(super) const TAG: usize = 16;
pub(super) const INDEX: usize = 4;
/// What SRTCP leaves readable: header and sender's SSRC.
pub(super) const CLEAR: usize = 8;

const SALT: usize = 12;
/// An SRTCP packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Key derivation labels (RFC 3711 §4.3.2).
const RTP_KEY: u8 = 0;
const RTP_SALT: u8 = 2;
const RTCP_KEY: u8 = 3;
const RTCP_SALT: u8 = 5;

/// Seals what goes to one viewer, opens what comes from it.
pub(super) struct Srtp {
    rtp: Aead,
    rtcp: Aead,
    rtcp_index: u32,
    incoming: Aead,
    seen: Window,
}

/// One direction of RTP or RTCP.
struct Aead {
    context: CipherCtx,
    salt: [u8; SALT],
}

impl Srtp {
    /// `None` where the profile is not AES-GCM, or OpenSSL cannot.
    pub(super) fn new(captured: &Captured) -> Option<Srtp> {
        let (cipher, key) = match captured.profile {
            SrtpProfile::AEAD_AES_128_GCM => (Cipher::aes_128_gcm(), 16),
            SrtpProfile::AEAD_AES_256_GCM => (Cipher::aes_256_gcm(), 32),
            _ => return None,
        };
        let (keys, salts) = captured.material.split_at_checked(2 * key)?;
        let salts = salts.get(..2 * SALT)?;
        let side = |first: bool| {
            let (at, salt_at) = if first { (0, 0) } else { (key, SALT) };
            (&keys[at..at + key], &salts[salt_at..salt_at + SALT])
        };
        let (ours, theirs) = (side(captured.active), side(!captured.active));
        let aead = |(key, salt), labels, seals| Aead::new(cipher, key, salt, labels, seals).ok();
        Some(Srtp {
            rtp: aead(ours, (RTP_KEY, RTP_SALT), true)?,
            rtcp: aead(ours, (RTCP_KEY, RTCP_SALT), true)?,
            rtcp_index: 0,
            incoming: aead(theirs, (RTCP_KEY, RTCP_SALT), false)?,
            seen: Window::default(),
        })
    }

    /// Seals `parts`, one after another, into `out`, which is as long as they are and a [`TAG`]. The caller never
    /// gives an `index` (sequence number extended by the rollover counter) of one SSRC twice.
    pub(super) fn seal(
        &mut self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        parts: [&[u8]; 2],
        out: &mut [u8],
    ) -> Result<(), ErrorStack> {
        let iv = self.rtp.iv(ssrc, &index.to_be_bytes()[2..]);
        let context = &mut self.rtp.context;
        context.encrypt_init(None, None, Some(&iv))?;
        context.cipher_update(header, None)?;
        let mut at = 0;
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            at += context.cipher_update(part, Some(&mut out[at..]))?;
        }
        context.cipher_final(&mut [])?;
        context.tag(&mut out[at..at + TAG])
    }

    /// Seals the compound packet that `packet` holds in place and appends tag and index.
    pub(super) fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), ErrorStack> {
        // 2^31 packets, one a second, last 68 years.
        self.rtcp_index += 1;
        let index = (self.rtcp_index | ENCRYPTED).to_be_bytes();
        let iv = self.rtcp.iv(ssrc_of(packet), &rtcp_index(self.rtcp_index));
        let context = &mut self.rtcp.context;
        context.encrypt_init(None, None, Some(&iv))?;
        context.cipher_update(&packet[..CLEAR], None)?;
        context.cipher_update(&index, None)?;
        let length = packet.len() - CLEAR;
        context.cipher_update_inplace(&mut packet[CLEAR..], length)?;
        context.cipher_final(&mut [])?;
        let mut tag = [0; TAG];
        context.tag(&mut tag)?;
        packet.extend_from_slice(&tag);
        packet.extend_from_slice(&index);
        Ok(())
    }

    /// Opens an SRTCP packet into `room`; `None` where it is not from this viewer, or came before.
    pub(super) fn open<'a>(&mut self, packet: &[u8], room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if packet.len() < CLEAR + TAG + INDEX {
            return None;
        }
        let (sealed, index) = packet.split_at(packet.len() - INDEX);
        let (clear, sealed) = sealed.split_at(CLEAR);
        let (sealed, tag) = sealed.split_at(sealed.len() - TAG);
        let word = u32::from_be_bytes(index.try_into().ok()?);
        let number = word & !ENCRYPTED;
        if word & ENCRYPTED == 0 || !self.seen.is_free(number.into()) {
            return None;
        }
        let iv = self.incoming.iv(ssrc_of(clear), &rtcp_index(number));
        room.clear();
        room.extend_from_slice(clear);
        room.resize(CLEAR + sealed.len(), 0);
        let context = &mut self.incoming.context;
        let opened = (|| {
            context.decrypt_init(None, None, Some(&iv))?;
            context.cipher_update(clear, None)?;
            context.cipher_update(index, None)?;
            if !sealed.is_empty() {
                context.cipher_update(sealed, Some(&mut room[CLEAR..]))?;
            }
            context.set_tag(tag)?;
            context.cipher_final(&mut [])
        })();
        opened.ok()?;
        // Only what is genuine moves the window.
        self.seen.take(number.into());
        Some(room)
    }
}

impl Aead {
    fn new(
        cipher: &CipherRef,
        master: &[u8],
        salt: &[u8],
        labels: (u8, u8),
        seals: bool,
    ) -> Result<Aead, ErrorStack> {
        let mut context = CipherCtx::new()?;
        let mut key = [0; 32];
        let key = &mut key[..master.len()];
        derive(master, salt, labels.0, key)?;
        if seals {
            context.encrypt_init(Some(cipher), Some(key), None)?;
        } else {
            context.decrypt_init(Some(cipher), Some(key), None)?;
        }
        let mut session_salt = [0; SALT];
        derive(master, salt, labels.1, &mut session_salt)?;
        Ok(Aead { context, salt: session_salt })
    }

    /// RFC 7714 §8.1 and §9.1: zeros, SSRC, six bytes of index, all mixed with the salt.
    fn iv(&self, ssrc: u32, index: &[u8]) -> [u8; SALT] {
        let mut iv = self.salt;
        for (byte, mixed) in iv[2..].iter_mut().zip(ssrc.to_be_bytes().iter().chain(index)) {
            *byte ^= mixed;
        }
        iv
    }
}

/// An SRTCP index as the IV has it.
fn rtcp_index(index: u32) -> [u8; 6] {
    let mut bytes = [0; 6];
    bytes[2..].copy_from_slice(&index.to_be_bytes());
    bytes
}

fn ssrc_of(rtcp: &[u8]) -> u32 {
    rtcp.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The key derivation function of RFC 3711 §4.3.3, AES in counter mode, with a rate of zero. RFC 7714 §11 has it take a
/// salt of twelve bytes as if two zeros followed.
fn derive(master: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), ErrorStack> {
    let mut counter = [0; 16];
    counter[..salt.len()].copy_from_slice(salt);
    counter[7] ^= label;
    let cipher = if master.len() == 16 { Cipher::aes_128_ctr() } else { Cipher::aes_256_ctr() };
    let mut context = CipherCtx::new()?;
    context.encrypt_init(Some(cipher), Some(master), Some(&counter))?;
    out.fill(0);
    let length = out.len();
    context.cipher_update_inplace(out, length)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_derived_as_rfc_3711_appendix_b3_has_it() {
        let (master, salt) = (hex("e1f97a0d3e018be0d64fa32c06de4139"), hex("0ec675ad498afeebb6960b3aabe6"));
        let derived = |label, length| {
            let mut out = vec![0; length];
            derive(&master, &salt, label, &mut out).unwrap();
            out
        };
        assert_eq!(derived(0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derived(2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
    }

    fn with_keys(key: &str, salt: &str) -> Srtp {
        let (key, salt) = (hex(key), hex(salt));
        let cipher = if key.len() == 16 { Cipher::aes_128_gcm() } else { Cipher::aes_256_gcm() };
        let aead = |seals| {
            let mut context = CipherCtx::new().unwrap();
            if seals {
                context.encrypt_init(Some(cipher), Some(&key), None).unwrap();
            } else {
                context.decrypt_init(Some(cipher), Some(&key), None).unwrap();
            }
            Aead { context, salt: salt.clone().try_into().unwrap() }
        };
        let (rtp, rtcp, incoming) = (aead(true), aead(true), aead(false));
        Srtp { rtp, rtcp, rtcp_index: 0, incoming, seen: Window::default() }
    }

    const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const SALT: &str = "517569642070726f2071756f";

    #[test]
    fn rtp_is_sealed_as_rfc_7714_section_16_1_and_16_2_have_it() {
        let header = hex("8040f17b8041f8d35501a0b2");
        let payload = hex("47616c6c696120657374206f6d6e697320646976697361 20696e207061727465732074726573");
        for (key, sealed) in [
            (
                KEY_128,
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                KEY_256,
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ] {
            let mut srtp = with_keys(key, SALT);
            // In one piece, and in two that do not end at a block.
            for cut in [0, 5] {
                let (first, rest) = payload.split_at(cut);
                let mut out = vec![0; payload.len() + TAG];
                srtp.seal(0x5501_a0b2, 0xf17b, &header, [first, rest], &mut out).unwrap();
                assert_eq!(out, hex(sealed), "{key}, cut at {cut}");
            }
        }
    }

    #[test]
    fn rtcp_is_sealed_as_rfc_7714_section_17_1_has_it_and_opened_once() {
        let plain = hex(
            "81c8000d4d6172734e5450314e54503252545020\n0000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let mut srtp = with_keys(KEY_128, SALT);
        srtp.rtcp_index = 0x5d4 - 1;
        let mut packet = plain.clone();
        srtp.seal_rtcp(&mut packet).unwrap();
        let expected = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
            c676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf872\
            45d9eade800005d4";
        assert_eq!(packet, hex(expected));
        let mut room = Vec::new();
        assert_eq!(srtp.open(&packet, &mut room), Some(&plain[..]));
        assert_eq!(srtp.open(&packet, &mut room), None, "replayed");
        for at in 0..packet.len() {
            let mut forged = packet.clone();
            forged[at] ^= 1;
            assert_eq!(srtp.open(&forged, &mut room), None, "byte {at}");
        }
        for end in 0..packet.len() {
            assert_eq!(srtp.open(&packet[..end], &mut room), None, "cut at {end}");
        }
    }
}
