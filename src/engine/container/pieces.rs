//! The transport stream in pieces, for whoever carries them on: each says whether it begins with a keyframe.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{BASE, Container, ContainerError, element};
use crate::engine::Engine;
use crate::engine::webrtc::{Lane, TransportStats};
use crate::media::TsSound;

/// A part of the stream: whole packets of 188 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// It begins with the tables and a keyframe: whoever begins to read here sees a picture at once.
    pub first: bool,
    /// The packets.
    pub bytes: Vec<u8>,
}

/// Takes pieces, on the streaming thread: hand over and return, never block.
pub type PieceSink = Box<dyn Fn(Piece) + Send + Sync>;

/// A transport stream in pieces. Dropping it ends it.
pub struct Pieces {
    container: Container,
}

impl Engine {
    /// Muxes `lanes` into a transport stream and hands it over, from the picture's next keyframe on.
    ///
    /// # Errors
    /// When GStreamer lacks something, or a lane does not fit.
    pub fn pieces(
        &self,
        name: &str,
        lanes: &[Lane],
        sound: TsSound,
        sink: PieceSink,
    ) -> Result<Pieces, ContainerError> {
        let mut container = Container::new(self, name);
        let muxer = container.transport_stream(self, lanes, sound, usize::MAX)?;
        let exit = element("appsink", BASE)?;
        for (property, value) in [("sync", false), ("async", false), ("enable-last-sample", false)] {
            exit.set_property(property, value);
        }
        let Some(appsink) = exit.downcast_ref::<gst_app::AppSink>() else {
            return Err(ContainerError::Failed("appsink is something else here".to_owned()));
        };
        appsink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |appsink| {
                    let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
                    if let Some(buffer) = sample.buffer() {
                        hand_over(buffer, &sink);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        container.pipeline.add(&exit)?;
        muxer.link(&exit)?;
        container.play()?;
        container.open();
        Ok(Pieces { container })
    }
}

impl Pieces {
    /// What went in.
    pub fn stats(&self) -> TransportStats {
        self.container.stats()
    }

    /// What has gone wrong since it was last asked.
    pub fn fault(&self) -> Option<ContainerError> {
        self.container.fault()
    }
}

fn hand_over(buffer: &gst::BufferRef, sink: &PieceSink) {
    let Ok(map) = buffer.map_readable() else { return };
    if !map.is_empty() {
        let first = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        sink(Piece { first, bytes: map.to_vec() });
    }
}
