//! SVT-AV1's structures by hand, as `EbSvtAv1.h` and `EbSvtAv1Enc.h` of each major version lay them out, and what must be
//! true of a library before it is called with them.
//!
//! The configuration is no structure here: it is a block of bytes, larger than any version's, that the library fills
//! with its defaults and that only the library's own parser changes, by name. So no field can be written at a wrong
//! place; the landmarks below still tell a library apart whose version says more than it keeps.

use std::ffi::{c_char, c_void};

/// What a family of versions has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// 1.4: a packet comes out when the next picture goes in; keyframes and bitrate are fixed once it runs.
    One,
    /// 2.3: each picture gives its packet at once; keyframes and bitrate come with a picture.
    Two,
}

impl Generation {
    /// The generation of a version, if it is one that this module was checked against.
    pub(super) fn of(major: u32, minor: u32) -> Option<Generation> {
        match (major, minor) {
            (1, 4) => Some(Generation::One),
            (2, 3..) => Some(Generation::Two),
            _ => None,
        }
    }

    pub(super) fn layout(self) -> &'static Layout {
        match self {
            Generation::One => &ONE,
            Generation::Two => &TWO,
        }
    }
}

/// What is known of a version's `EbSvtAv1EncConfiguration`.
pub(super) struct Layout {
    /// `sizeof`: the library must write nothing behind it.
    pub(super) size: usize,
    /// Field, offset, and what `svt_av1_enc_init_handle` puts there.
    pub(super) defaults: &'static [(&'static str, usize, Field)],
    /// Where the parser puts `width`, `fps-num`, `input-depth`: 32-bit numbers.
    pub(super) named: &'static [(&'static str, usize)],
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field {
    Byte(i8),
    Int(i32),
    Long(i64),
}

impl Field {
    /// Whether it stands there.
    pub(super) fn stands_at(self, bytes: &[u8], offset: usize) -> bool {
        let there = |expected: &[u8]| bytes.get(offset..offset + expected.len()) == Some(expected);
        match self {
            Field::Byte(value) => there(&value.to_ne_bytes()),
            Field::Int(value) => there(&value.to_ne_bytes()),
            Field::Long(value) => there(&value.to_ne_bytes()),
        }
    }
}

const ONE: Layout = Layout {
    size: 1720,
    defaults: &[
        ("enc_mode", 0, Field::Byte(10)),
        ("intra_period_length", 4, Field::Int(-2)),
        ("pred_structure", 16, Field::Byte(2)),
        ("frame_rate_numerator", 36, Field::Int(60_000)),
        ("frame_rate_denominator", 40, Field::Int(1000)),
        ("encoder_bit_depth", 44, Field::Int(8)),
        ("qp", 128, Field::Int(35)),
        ("target_bit_rate", 136, Field::Int(2_000_000)),
        ("max_qp_allowed", 148, Field::Int(63)),
        ("starting_buffer_level_ms", 184, Field::Long(600)),
        ("maximum_buffer_size_ms", 200, Field::Long(1000)),
        ("tile_columns", 340, Field::Int(-1)),
        ("superres_denom", 369, Field::Byte(8)),
        ("active_channel_count", 1680, Field::Int(1)),
        ("target_socket", 1692, Field::Int(-1)),
        ("min_qm_level", 1715, Field::Byte(8)),
        ("max_qm_level", 1716, Field::Byte(15)),
    ],
    named: &[("width", 20), ("height", 24), ("fps-num", 36), ("input-depth", 44), ("lp", 1684)],
};

const TWO: Layout = Layout {
    size: 624,
    defaults: &[
        ("enc_mode", 0, Field::Byte(10)),
        ("intra_period_length", 4, Field::Int(-2)),
        ("pred_structure", 16, Field::Byte(2)),
        ("frame_rate_numerator", 36, Field::Int(60_000)),
        ("frame_rate_denominator", 40, Field::Int(1000)),
        ("encoder_bit_depth", 44, Field::Int(8)),
        ("qp", 124, Field::Int(35)),
        ("target_bit_rate", 132, Field::Int(2_000_513)),
        ("max_qp_allowed", 140, Field::Int(63)),
        ("starting_buffer_level_ms", 168, Field::Long(600)),
        ("maximum_buffer_size_ms", 184, Field::Long(1000)),
        ("tile_columns", 324, Field::Int(-1)),
        ("superres_denom", 353, Field::Byte(8)),
        ("active_channel_count", 372, Field::Int(1)),
        ("target_socket", 388, Field::Int(-1)),
        ("min_qm_level", 411, Field::Byte(8)),
        ("lambda_scale_factors", 416, Field::Int(128)),
        ("variance_octile", 498, Field::Byte(6)),
    ],
    named: &[("width", 20), ("height", 24), ("fps-num", 36), ("input-depth", 44), ("lp", 376)],
};

/// Room for any version's `EbSvtAv1EncConfiguration`.
#[repr(C, align(16))]
#[derive(Clone)]
pub(super) struct Configuration(pub(super) [u8; 4096]);

/// `EbComponentType`: the library's own.
#[repr(C)]
pub(super) struct Component {
    _opaque: [u8; 0],
}

/// `EbBufferHeaderType`: a picture on its way in, a packet on its way out. The same in 1.4 and 2.3.
#[repr(C)]
pub(super) struct BufferHeader {
    /// Of this structure.
    pub(super) size: u32,
    /// [`InputPictureOne`], an [`InputPictureTwo`], or the packet's bytes.
    pub(super) buffer: *mut u8,
    /// Bytes of it in use.
    pub(super) filled: u32,
    pub(super) allocated: u32,
    /// A list of [`PrivateNode`].
    pub(super) private: *mut c_void,
    pub(super) wrapper: *mut c_void,
    pub(super) ticks: u32,
    pub(super) dts: i64,
    /// Comes out as it went in.
    pub(super) pts: i64,
    pub(super) qp: u32,
    /// `EbAv1PictureType`
    pub(super) kind: u32,
    pub(super) luma_error: u64,
    pub(super) red_error: u64,
    pub(super) blue_error: u64,
    /// `EB_BUFFERFLAG_…`
    pub(super) flags: u32,
    pub(super) luma_likeness: f64,
    pub(super) red_likeness: f64,
    pub(super) blue_likeness: f64,
    pub(super) metadata: *mut c_void,
}

/// `EB_BUFFERFLAG_EOS`
pub(super) const FLAG_END: u32 = 1;
/// `EB_AV1_KEY_PICTURE`
pub(super) const KIND_KEY: u32 = 3;
/// `EB_AV1_INVALID_PICTURE`: the encoder decides.
pub(super) const KIND_FREE: u32 = 0xff;

/// `EbErrorNone`
pub(super) const OK: u32 = 0;
/// `EB_NoErrorEmptyQueue`
pub(super) const NOTHING_YET: u32 = 0x8000_2033;

/// `EbSvtIOFormat` of 1.4.
#[repr(C)]
pub(super) struct InputPictureOne {
    pub(super) planes: [*mut u8; 3],
    /// The two low bits of a format that is not used here.
    pub(super) low_bits: [*mut u8; 3],
    pub(super) frame: InputFrame,
}

/// `EbSvtIOFormat` of 2.3.
#[repr(C)]
pub(super) struct InputPictureTwo {
    pub(super) planes: [*mut u8; 3],
    pub(super) frame: InputFrame,
}

/// What both have behind the planes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct InputFrame {
    /// In samples: luma, then, in this order, red and blue.
    pub(super) strides: [u32; 3],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) origin: [u32; 2],
    /// `EbColorFormat`; 1 is 4:2:0.
    pub(super) color_format: u32,
    /// `EbBitDepth`
    pub(super) bit_depth: u32,
}

/// `EbPrivDataNode` of 2.3.
#[repr(C)]
pub(super) struct PrivateNode {
    pub(super) kind: u32,
    pub(super) content: *mut c_void,
    pub(super) size: u32,
    pub(super) next: *mut PrivateNode,
}

/// `RATE_CHANGE_EVENT` of 2.3; only with a key picture.
pub(super) const NODE_RATE: u32 = 4;

/// `SvtAv1RateInfo` of 2.3.
#[repr(C)]
pub(super) struct RateChange {
    /// 0: as before.
    pub(super) quantizer: u32,
    /// bit/s
    pub(super) bitrate: u32,
}

pub(super) type GetVersion = extern "C" fn() -> *const c_char;
pub(super) type InitHandle = extern "C" fn(*mut *mut Component, *mut c_void, *mut Configuration) -> u32;
pub(super) type ParseParameter = extern "C" fn(*mut Configuration, *const c_char, *const c_char) -> u32;
pub(super) type SetParameter = extern "C" fn(*mut Component, *mut Configuration) -> u32;
pub(super) type OfComponent = extern "C" fn(*mut Component) -> u32;
pub(super) type SendPicture = extern "C" fn(*mut Component, *mut BufferHeader) -> u32;
pub(super) type GetPacket = extern "C" fn(*mut Component, *mut *mut BufferHeader, u8) -> u32;
pub(super) type ReleasePacket = extern "C" fn(*mut *mut BufferHeader);

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// Printed by a C program from the headers of `libsvtav1-dev` 1.4.1 and `libsvtav1enc-dev` 2.3.0 on amd64.
    #[test]
    fn structures_are_those_of_the_headers() {
        assert_eq!(size_of::<BufferHeader>(), 136);
        let header = [
            offset_of!(BufferHeader, buffer),
            offset_of!(BufferHeader, filled),
            offset_of!(BufferHeader, allocated),
            offset_of!(BufferHeader, private),
            offset_of!(BufferHeader, wrapper),
            offset_of!(BufferHeader, ticks),
            offset_of!(BufferHeader, dts),
            offset_of!(BufferHeader, pts),
            offset_of!(BufferHeader, qp),
            offset_of!(BufferHeader, kind),
            offset_of!(BufferHeader, luma_error),
            offset_of!(BufferHeader, flags),
            offset_of!(BufferHeader, luma_likeness),
            offset_of!(BufferHeader, metadata),
        ];
        assert_eq!(header, [8, 16, 20, 24, 32, 40, 48, 56, 64, 68, 72, 96, 104, 128]);
        assert_eq!((size_of::<InputPictureOne>(), offset_of!(InputPictureOne, frame)), (88, 48));
        assert_eq!((size_of::<InputPictureTwo>(), offset_of!(InputPictureTwo, frame)), (64, 24));
        let frame = [
            offset_of!(InputFrame, width),
            offset_of!(InputFrame, height),
            offset_of!(InputFrame, color_format),
            offset_of!(InputFrame, bit_depth),
        ];
        assert_eq!(frame, [12, 16, 28, 32], "behind the strides");
        let node = [
            offset_of!(PrivateNode, content),
            offset_of!(PrivateNode, size),
            offset_of!(PrivateNode, next),
            size_of::<PrivateNode>(),
        ];
        assert_eq!(node, [8, 16, 24, 32]);
        assert_eq!(size_of::<RateChange>(), 8);
        for layout in [&ONE, &TWO] {
            assert!(layout.size < size_of::<Configuration>());
        }
    }

    #[test]
    fn only_checked_versions_have_a_generation() {
        assert_eq!(Generation::of(1, 4), Some(Generation::One));
        assert_eq!(Generation::of(2, 3), Some(Generation::Two));
        for (major, minor) in [(0, 9), (1, 3), (1, 5), (1, 8), (2, 0), (2, 2), (3, 0), (4, 2)] {
            assert_eq!(Generation::of(major, minor), None, "{major}.{minor}");
        }
    }
}
