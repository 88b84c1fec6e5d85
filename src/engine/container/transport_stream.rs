//! An MPEG transport stream (ISO/IEC 13818-1) by `mpegtsmux`, for receivers that know nothing of WebRTC.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::{BAD, BASE, Container, ContainerError, GOOD, element};
use crate::engine::Engine;
use crate::engine::webrtc::Lane;
use crate::media::{Codec, MediaKind, TsSound};

/// What makes AAC, the best first; the first is not in every GStreamer, the last in every one that has `mpegtsmux`.
const AAC: [&str; 3] = ["fdkaacenc", "avenc_aac", "voaacenc"];

impl Container {
    /// Adds a muxer and all `lanes` but the sound that is not wanted, and gives the muxer. It is not linked to anything, and
    /// media does not flow yet. What it makes of one access unit leaves it in buffers of up to `most` bytes.
    pub(super) fn transport_stream(
        &mut self,
        engine: &Engine,
        lanes: &[Lane],
        sound: TsSound,
        most: usize,
    ) -> Result<gst::Element, ContainerError> {
        let muxer = element("mpegtsmux", BAD)?;
        // Whole pictures: with the seven packets that fill a datagram, a picture's last ones would wait for the next picture.
        muxer.set_property("alignment", 0_i32);
        self.pipeline.add(&muxer)?;
        pack(&muxer, most)?;
        for lane in lanes {
            let preparing = match (lane.codec, sound) {
                (Codec::H264, _) => vec![parser()?],
                (Codec::Opus, TsSound::Opus) => Vec::new(),
                (Codec::Opus, TsSound::Aac) => transcoder(lane)?,
                (Codec::Opus, TsSound::None) => continue,
                (codec, _) => return Err(ContainerError::Failed(unfit(codec))),
            };
            let entry = self.add(engine, lane, lane.limits, &preparing, (&muxer, "sink_%d"))?;
            match lane.codec.kind() {
                MediaKind::Video => announce_keyframes(&entry),
                MediaKind::Audio => self.begin_together(),
            }
        }
        Ok(muxer)
    }
}

/// Puts the tables before every keyframe, not only ten times a second: whoever begins to read there sees a picture at once.
/// The muxer does so when a keyframe is announced that somebody asked for.
fn announce_keyframes(entry: &gst::Pad) {
    entry.add_probe(gst::PadProbeType::BUFFER, |entry, info| {
        if let Some(buffer) = info.buffer()
            && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
            && let Some(time) = buffer.pts()
        {
            // PTS is running time in these pipelines.
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .timestamp(time)
                .running_time(time)
                .all_headers(true);
            entry.send_event(event.build());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Makes of the muxer's single packets, 188 bytes each, buffers of up to `most` bytes.
fn pack(muxer: &gst::Element, most: usize) -> Result<(), ContainerError> {
    let exit =
        muxer.static_pad("src").ok_or_else(|| ContainerError::Failed("the muxer has no exit".to_owned()))?;
    exit.add_probe(gst::PadProbeType::BUFFER_LIST, move |_, info| {
        if let Some(gst::PadProbeData::BufferList(list)) = &mut info.data {
            *list = packed(list, most);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// A buffer that begins with a keyframe begins anew, and is no `DELTA_UNIT`.
fn packed(list: &gst::BufferListRef, most: usize) -> gst::BufferList {
    let mut packed: Vec<(gst::BufferFlags, Option<gst::ClockTime>, Vec<u8>)> = Vec::new();
    for buffer in list.iter() {
        let Ok(map) = buffer.map_readable() else { continue };
        let delta = buffer.flags() & gst::BufferFlags::DELTA_UNIT;
        match packed.last_mut() {
            Some((.., bytes)) if bytes.len() + map.len() <= most && !delta.is_empty() => {
                bytes.extend_from_slice(&map);
            }
            _ => packed.push((delta, buffer.pts(), map.to_vec())),
        }
    }
    let buffers = packed.into_iter().map(|(flags, pts, bytes)| {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_flags(flags);
            buffer.set_pts(pts);
        }
        buffer
    });
    buffers.collect()
}

/// Why a transport stream cannot have this, in words.
fn unfit(codec: Codec) -> String {
    format!("an MPEG transport stream cannot carry {}", codec.title())
}

/// Gives every keyframe its parameter sets, since receivers come at any time.
fn parser() -> Result<gst::Element, ContainerError> {
    let parser = element("h264parse", BAD)?;
    parser.set_property("config-interval", -1_i32);
    Ok(parser)
}

fn transcoder(lane: &Lane) -> Result<Vec<gst::Element>, ContainerError> {
    debug_assert_eq!(lane.codec.kind(), MediaKind::Audio);
    let known = AAC.into_iter().find(|name| gst::ElementFactory::find(name).is_some());
    let encoder = element(known.unwrap_or(AAC[2]), BAD)?;
    let bits = i32::try_from(lane.bitrate.bits()).unwrap_or(i32::MAX).clamp(64_000, 256_000);
    if encoder.has_property_with_type("bitrate", i64::static_type()) {
        encoder.set_property("bitrate", i64::from(bits));
    } else {
        encoder.set_property("bitrate", bits);
    }
    Ok(vec![element("opusdec", BASE)?, element("audioconvert", BASE)?, encoder, element("aacparse", GOOD)?])
}
