//! What a stream consists of: its tables read, and each coding as GStreamer and people call it. Pure.

use std::fmt;

use crate::media::MediaKind;

/// The picture and the sound that are taken of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) picture: Option<Track>,
    pub(super) sound: Option<Track>,
}

impl Program {
    pub(super) fn track(&self, kind: MediaKind) -> Option<&Track> {
        match kind {
            MediaKind::Video => self.picture.as_ref(),
            MediaKind::Audio => self.sound.as_ref(),
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) pid: u16,
    pub(super) coding: Coding,
}

/// How it is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Coding {
    Mpeg2,
    H264,
    H265,
    Mp2,
    /// AAC in ADTS.
    Aac,
    /// AAC in LATM.
    Latm,
    Ac3,
    /// Opus, with so many channels.
    Opus(u8),
}

impl Coding {
    pub(super) const fn kind(self) -> MediaKind {
        match self {
            Coding::Mpeg2 | Coding::H264 | Coding::H265 => MediaKind::Video,
            Coding::Mp2 | Coding::Aac | Coding::Latm | Coding::Ac3 | Coding::Opus(_) => MediaKind::Audio,
        }
    }

    /// Of its access units, as they come.
    pub(super) fn caps(self) -> String {
        match self {
            Coding::Mpeg2 => "video/mpeg,mpegversion=2,systemstream=false".to_owned(),
            Coding::H264 => "video/x-h264,stream-format=byte-stream,alignment=au".to_owned(),
            Coding::H265 => "video/x-h265,stream-format=byte-stream,alignment=au".to_owned(),
            Coding::Mp2 => "audio/mpeg,mpegversion=1".to_owned(),
            Coding::Aac => "audio/mpeg,mpegversion=4,stream-format=adts".to_owned(),
            Coding::Latm => "audio/mpeg,mpegversion=4,stream-format=loas".to_owned(),
            Coding::Ac3 => "audio/x-ac3".to_owned(),
            Coding::Opus(channels) => {
                format!("audio/x-opus,rate=48000,channels={channels},channel-mapping-family=0")
            }
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coding::Mpeg2 => "MPEG-2",
            Coding::H264 => "H.264",
            Coding::H265 => "H.265",
            Coding::Mp2 => "MPEG audio",
            Coding::Aac | Coding::Latm => "AAC",
            Coding::Ac3 => "AC-3",
            Coding::Opus(_) => "Opus",
        })
    }
}

/// The PID of the first program's table, from a program association section (ISO/IEC 13818-1, 2.4.4.3).
pub(super) fn read_pat(section: &[u8]) -> Option<u16> {
    let programs = section.strip_prefix(&[0]).and_then(|section| section.get(7..))?;
    let of = |entry: &&[u8]| entry[0] != 0 || entry[1] != 0;
    programs.chunks_exact(4).find(of).map(|entry| u16::from(entry[2] & 0x1f) << 8 | u16::from(entry[3]))
}

/// The first picture and the first sound that can be taken, from a program map section (2.4.4.8).
pub(super) fn read_pmt(section: &[u8]) -> Option<Program> {
    let section = section.strip_prefix(&[2])?;
    let length = |high: u8, low: u8| usize::from(high & 0x0f) << 8 | usize::from(low);
    let mut left = section.get(11 + length(*section.get(9)?, *section.get(10)?)..)?;
    let mut program = Program::default();
    while let [kind, high, low, more, many, ..] = left {
        let about = length(*more, *many);
        let descriptors = left.get(5..5 + about)?;
        left = &left[5 + about..];
        let pid = u16::from(high & 0x1f) << 8 | u16::from(*low);
        let Some(coding) = coding(*kind, descriptors) else { continue };
        let track = match coding.kind() {
            MediaKind::Video => &mut program.picture,
            MediaKind::Audio => &mut program.sound,
        };
        track.get_or_insert(Track { pid, coding });
    }
    Some(program)
}

fn coding(stream_type: u8, descriptors: &[u8]) -> Option<Coding> {
    match stream_type {
        0x01 | 0x02 => Some(Coding::Mpeg2),
        0x03 | 0x04 => Some(Coding::Mp2),
        0x0f => Some(Coding::Aac),
        0x11 => Some(Coding::Latm),
        0x1b => Some(Coding::H264),
        0x24 => Some(Coding::H265),
        0x81 => Some(Coding::Ac3),
        // Private: a descriptor says what.
        0x06 => {
            let (mut left, mut opus, mut channels) = (descriptors, false, 2);
            while let [tag, length, ..] = left {
                let body = left.get(2..2 + usize::from(*length))?;
                left = &left[2 + usize::from(*length)..];
                match (tag, body) {
                    (0x6a, _) => return Some(Coding::Ac3),
                    (0x05, [b'O', b'p', b'u', b's', ..]) => opus = true,
                    (0x05, [b'A', b'C', b'-', b'3', ..]) => return Some(Coding::Ac3),
                    // Two channels and fewer; others are mixed down by nobody here.
                    (0x7f, [0x80, code, ..]) => channels = (*code).clamp(1, 2),
                    _ => {}
                }
            }
            opus.then_some(Coding::Opus(channels))
        }
        _ => None,
    }
}
