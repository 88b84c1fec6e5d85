//! The GStreamer element around it.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::prelude::*;
use gst_video::subclass::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;

use super::abi::Generation;
use super::error::SvtError;
use super::library::{self, Library};
use super::session::{Packet, Parameters, Picture, Session};

glib::wrapper! {
    /// `capcastsvtav1enc`
    pub(super) struct SvtAv1Enc(ObjectSubclass<Element>)
        @extends gst_video::VideoEncoder, gst::Element, gst::Object,
        @implements gst::Preset;
}

/// See [`SvtAv1Enc`].
#[derive(Default)]
pub(super) struct Element {
    settings: Mutex<Settings>,
    /// From start to stop.
    library: Mutex<Option<&'static Library>>,
    /// From the first caps on.
    encoder: Mutex<Option<Encoder>>,
}

#[derive(Clone)]
struct Settings {
    bitrate: u32,
    keyframe_interval: u32,
    preset: u32,
    threads: u32,
    library: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { bitrate: 2_000_000, keyframe_interval: 60, preset: 12, threads: 2, library: String::new() }
    }
}

/// What pictures of one format go through.
struct Encoder {
    library: &'static Library,
    parameters: Parameters,
    format: gst_video::VideoInfo,
    session: Option<Session>,
    /// Rows without gaps, where a buffer's have some.
    packed: [Vec<u8>; 3],
}

#[glib::object_subclass]
impl ObjectSubclass for Element {
    const NAME: &'static str = "CapcastSvtAv1Enc";
    type Type = SvtAv1Enc;
    type ParentType = gst_video::VideoEncoder;
}

impl ObjectImpl for Element {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let defaults = Settings::default();
            vec![
                glib::ParamSpecUInt::builder("bitrate")
                    .blurb("Target, bit/s; a change while playing comes with a keyframe")
                    .minimum(10_000)
                    .maximum(100_000_000)
                    .default_value(defaults.bitrate)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("keyframe-interval")
                    .blurb("Frames from one keyframe to the next")
                    .minimum(1)
                    .maximum(65_536)
                    .default_value(defaults.keyframe_interval)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("preset")
                    .blurb("SVT-AV1's: 8 is the best that is live, 13 the fastest")
                    .minimum(8)
                    .maximum(13)
                    .default_value(defaults.preset)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("threads")
                    .blurb("How much to do at the same time: 1 to 6, 1.4 no more than 3")
                    .minimum(1)
                    .maximum(64)
                    .default_value(defaults.threads)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("library")
                    .blurb("Shared library to load; empty: the SVT-AV1 of this box")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("version")
                    .blurb("SVT-AV1's version, once it is loaded")
                    .read_only()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        // GObject has checked type and range.
        let number = || value.get::<u32>().unwrap_or_default();
        match spec.name() {
            "bitrate" => settings.bitrate = number(),
            "keyframe-interval" => settings.keyframe_interval = number(),
            "preset" => settings.preset = number(),
            "threads" => settings.threads = number(),
            "library" => settings.library = value.get::<Option<String>>().ok().flatten().unwrap_or_default(),
            _ => {}
        }
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        let settings = lock(&self.settings);
        match spec.name() {
            "bitrate" => settings.bitrate.to_value(),
            "keyframe-interval" => settings.keyframe_interval.to_value(),
            "preset" => settings.preset.to_value(),
            "threads" => settings.threads.to_value(),
            "library" => settings.library.to_value(),
            _ => lock(&self.library).map_or("", |library| library.version.as_str()).to_value(),
        }
    }
}

impl GstObjectImpl for Element {}

impl ElementImpl for Element {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "SVT-AV1 live encoder",
                "Codec/Encoder/Video",
                "AV1 by SVT-AV1 in low delay at a constant bitrate, one picture in, one packet out",
                "Capcast",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let even = |max| gst::IntRange::with_step(64, max, 2);
            let raw = gst::Caps::builder("video/x-raw")
                .field("format", gst::List::new(["I420", "I420_10LE"]))
                .field("width", even(16_384))
                .field("height", even(8704))
                .field(
                    "framerate",
                    gst::FractionRange::new(gst::Fraction::new(0, 1), gst::Fraction::new(240, 1)),
                )
                .build();
            let pad = |name, direction, caps: &gst::Caps| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
            };
            [pad("sink", gst::PadDirection::Sink, &raw), pad("src", gst::PadDirection::Src, &coded())]
                .into_iter()
                .flatten()
                .collect()
        });
        TEMPLATES.as_ref()
    }
}

fn coded() -> gst::Caps {
    gst::Caps::builder("video/x-av1").field("stream-format", "obu-stream").field("alignment", "tu").build()
}

impl VideoEncoderImpl for Element {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let name = lock(&self.settings).library.clone();
        let library =
            library::load(&name).map_err(|error| gst::error_msg!(gst::LibraryError::Init, ("{error}")))?;
        *lock(&self.library) = Some(library);
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.encoder) = None;
        *lock(&self.library) = None;
        Ok(())
    }

    fn set_format(
        &self,
        state: &gst_video::VideoCodecState<'static, gst_video::video_codec_state::Readable>,
    ) -> Result<(), gst::LoggableError> {
        let words = |error: &dyn std::fmt::Display| gst::loggable_error!(gst::CAT_RUST, "{error}");
        self.finish().map_err(|error| words(&error))?;
        let library = lock(&self.library).ok_or_else(|| words(&"it is not started"))?;
        let settings = lock(&self.settings).clone();
        let format = state.info().clone();
        let encoder = Encoder::start(library, &settings, format).map_err(|error| {
            gst::element_imp_error!(self, gst::LibraryError::Settings, ("{error}"));
            words(&error)
        })?;
        // 1.4 holds one picture back.
        let held = u64::from(library.generation == Generation::One);
        let (numerator, denominator) = encoder.parameters.rate;
        let delay = gst::ClockTime::SECOND.mul_div_ceil(held * u64::from(denominator), u64::from(numerator));
        *lock(&self.encoder) = Some(encoder);
        let element = self.obj();
        let delay = delay.unwrap_or(gst::ClockTime::ZERO);
        element.set_latency(delay, Some(delay));
        let output = element.set_output_state(coded(), Some(state)).map_err(|error| words(&error))?;
        element.negotiate(output).map_err(|error| words(&error))
    }

    fn handle_frame(&self, frame: gst_video::VideoCodecFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        let bitrate = lock(&self.settings).bitrate;
        let number = frame.system_frame_number();
        let keyframe = frame.flags().contains(gst_video::VideoCodecFrameFlags::FORCE_KEYFRAME);
        let buffer = frame.input_buffer_owned();
        // What comes out may be the packet of another frame.
        drop(frame);
        let packets = {
            let mut encoder = lock(&self.encoder);
            let encoder = encoder.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
            let picture = buffer
                .and_then(|buffer| gst_video::VideoFrame::from_buffer_readable(buffer, &encoder.format).ok());
            let Some(picture) = picture else {
                gst::element_imp_error!(self, gst::StreamError::Format, ("a picture cannot be read"));
                return Err(gst::FlowError::Error);
            };
            encoder.encode(&picture, number, keyframe, bitrate).map_err(|error| self.failed(&error))?
        };
        self.push(packets)
    }

    fn finish(&self) -> Result<gst::FlowSuccess, gst::FlowError> {
        let packets = match lock(&self.encoder).as_mut() {
            Some(encoder) => encoder.end().map_err(|error| self.failed(&error))?,
            None => Vec::new(),
        };
        self.push(packets)
    }

    fn flush(&self) -> bool {
        match lock(&self.encoder).as_mut() {
            Some(encoder) => encoder.end().is_ok(),
            None => true,
        }
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        self.parent_propose_allocation(query)
    }
}

impl Element {
    fn failed(&self, error: &SvtError) -> gst::FlowError {
        gst::element_imp_error!(self, gst::StreamError::Encode, ("{error}"));
        gst::FlowError::Error
    }

    fn push(&self, packets: Vec<Packet>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let element = self.obj();
        for packet in packets {
            let frame = i32::try_from(packet.number).ok().and_then(|number| element.frame(number));
            let Some(mut frame) = frame else {
                gst::element_imp_error!(self, gst::StreamError::Encode, ("a packet came for no picture"));
                return Err(gst::FlowError::Error);
            };
            if packet.keyframe {
                frame.set_flags(gst_video::VideoCodecFrameFlags::SYNC_POINT);
            }
            frame.set_output_buffer(gst::Buffer::from_slice(packet.bytes));
            element.finish_frame(frame)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl Encoder {
    fn start(
        library: &'static Library,
        settings: &Settings,
        format: gst_video::VideoInfo,
    ) -> Result<Encoder, SvtError> {
        let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
        let rate = positive(format.fps().numer()).zip(positive(format.fps().denom()));
        let color = format.colorimetry();
        let parameters = Parameters {
            width: format.width(),
            height: format.height(),
            // Where pictures come as they come, something must be assumed.
            rate: rate.unwrap_or((30, 1)),
            depth: format.format_info().depth()[0],
            bitrate: settings.bitrate,
            keyframe_interval: settings.keyframe_interval,
            preset: settings.preset,
            threads: settings.threads,
            color: [color.primaries().to_iso(), color.transfer().to_iso(), color.matrix().to_iso()],
            full_range: color.range() == gst_video::VideoColorRange::Range0_255,
        };
        let session = Some(Session::start(library, &parameters)?);
        Ok(Encoder { library, parameters, format, session, packed: Default::default() })
    }

    /// What comes out when a picture goes in: one packet, with 1.4 none for the first, and two where a session ends.
    fn encode(
        &mut self,
        frame: &gst_video::VideoFrame<gst_video::video_frame::Readable>,
        number: u32,
        keyframe: bool,
        bitrate: u32,
    ) -> Result<Vec<Packet>, SvtError> {
        let goes_on = self.session.as_ref().is_some_and(|session| {
            let same = session.bitrate() == bitrate;
            if session.is_fresh() { same } else { session.can_change() || (same && !keyframe) }
        });
        let mut packets = Vec::new();
        if !goes_on {
            packets = self.end()?;
            self.parameters.bitrate = bitrate;
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::start(self.library, &self.parameters)?),
        };
        let change = (bitrate != session.bitrate()).then_some(bitrate);
        let planes = pack(frame, &self.parameters, &mut self.packed);
        packets.extend(session.encode(&Picture { planes }, number, keyframe, change)?);
        self.parameters.bitrate = bitrate;
        Ok(packets)
    }

    /// Ends the session, if there is one, with all that is left in it; the next picture begins a new one.
    fn end(&mut self) -> Result<Vec<Packet>, SvtError> {
        self.session.take().map_or(Ok(Vec::new()), |mut session| session.end())
    }
}

/// The planes with rows without gaps: 1.4 copies whole strides, wider than its own rows as they may be.
fn pack<'a>(
    frame: &'a gst_video::VideoFrame<gst_video::video_frame::Readable>,
    parameters: &Parameters,
    packed: &'a mut [Vec<u8>; 3],
) -> [&'a [u8]; 3] {
    let sample = if parameters.depth > 8 { 2 } else { 1 };
    let mut component = 0u32;
    packed.each_mut().map(|room| {
        let (plane, halved) = (component, component > 0);
        component += 1;
        let row = (parameters.width >> u32::from(halved)) as usize * sample;
        let rows = (parameters.height >> u32::from(halved)) as usize;
        let stride = frame.plane_stride()[plane as usize].unsigned_abs() as usize;
        let bytes = frame.plane_data(plane).unwrap_or_default();
        if stride == row {
            return bytes;
        }
        room.clear();
        bytes.chunks(stride).take(rows).for_each(|line| room.extend_from_slice(&line[..row]));
        room.as_slice()
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
