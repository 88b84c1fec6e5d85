//! Paints the slate: the product's name, why there is no picture, the time of day; in the hub's own format.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use arc_swap::ArcSwapOption;
use gst::glib;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::media::SourceHealth;

use super::letters::{Letters, Plane, Style};

/// How long one slate may take to convert.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Luma of the ground: dark, and not black, so that it is seen to be a picture.
const GROUND: u8 = 36;

/// Luma of the words, by weight.
const WHITE: u8 = 235;

/// See [`WHITE`].
const SOFT: u8 = 190;

/// See [`WHITE`].
const FAINT: u8 = 140;

/// What is painted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    pub(super) caps: gst::Caps,
    pub(super) health: SourceHealth,
}

/// A slate with what it shows, the time of day included.
struct Painted {
    subject: Subject,
    clock: String,
    sample: gst::Sample,
}

/// The thread that paints, and its newest picture.
pub(super) struct Painter {
    orders: Option<SyncSender<Subject>>,
    newest: Arc<ArcSwapOption<Painted>>,
}

impl Painter {
    pub(super) fn start() -> std::io::Result<Painter> {
        // One that is painted and one that waits: what is asked for meanwhile is asked for again at the next frame.
        let (orders, inbox) = mpsc::sync_channel(1);
        let newest = Arc::new(ArcSwapOption::empty());
        let canvas = Arc::clone(&newest);
        thread::Builder::new().name("slate-paint".to_owned()).spawn(move || run(&inbox, &canvas))?;
        Ok(Painter { orders: Some(orders), newest })
    }

    /// Has this painted, unless it is, with the present time of day.
    pub(super) fn ask(&self, subject: Subject) {
        let newest = self.newest.load();
        let fresh = newest.as_deref().is_some_and(|of| of.subject == subject && of.clock == time_of_day());
        if !fresh && let Some(orders) = &self.orders {
            // Full: it is at it.
            let _ = orders.try_send(subject);
        }
    }

    /// The newest slate in this format, even if the reason or the time has changed since.
    pub(super) fn picture(&self, subject: &Subject) -> Option<gst::Sample> {
        let newest = self.newest.load();
        newest.as_deref().filter(|of| of.subject.caps == subject.caps).map(|of| of.sample.clone())
    }

    /// Ends the thread.
    pub(super) fn end(&mut self) {
        self.orders = None;
    }
}

fn run(inbox: &Receiver<Subject>, newest: &ArcSwapOption<Painted>) {
    let mut letters: Option<Result<Letters, String>> = None;
    let mut easel: Option<Easel> = None;
    while let Ok(subject) = inbox.recv() {
        if easel.as_ref().is_none_or(|easel| easel.caps != subject.caps) {
            // Before another one is made.
            drop(easel.take());
            easel = Easel::set_up(&subject.caps)
                .inspect_err(|reason| tracing::debug!("no slate in this format: {reason}"))
                .ok();
        }
        // Read when it is needed first: most boxes seldom show a slate.
        let letters = letters.get_or_insert_with(|| {
            Letters::load().inspect_err(|reason| tracing::warn!("the slate has no words: {reason}"))
        });
        let clock = time_of_day();
        let paint = |easel: &Easel| easel.paint(letters.as_ref().ok(), &subject.health, &clock);
        let Some(sample) = easel.as_ref().and_then(paint) else {
            easel = None;
            continue;
        };
        newest.store(Some(Arc::new(Painted { subject, clock, sample })));
    }
}

fn time_of_day() -> String {
    let now = glib::DateTime::now_local().and_then(|now| now.format("%H:%M:%S"));
    now.map(|text| text.to_string()).unwrap_or_default()
}

/// A pipeline that turns what is drawn on planar luma into the hub's format.
struct Easel {
    caps: gst::Caps,
    picture: gst_video::VideoInfo,
    pipeline: gst::Pipeline,
    entry: gst_app::AppSrc,
    exit: gst_app::AppSink,
}

impl Easel {
    fn set_up(caps: &gst::Caps) -> Result<Easel, String> {
        let fail = |error: glib::BoolError| error.message.to_string();
        let mut ground = caps.copy();
        let fields = ground.make_mut().structure_mut(0).ok_or("no format")?;
        fields.set("format", "I420");
        fields.remove_fields(["colorimetry", "chroma-site"]);
        let picture = gst_video::VideoInfo::from_caps(&ground).map_err(fail)?;
        let pipeline = gst::Pipeline::new();
        let entry = gst_app::AppSrc::builder().caps(&ground).format(gst::Format::Time).build();
        let convert = gst::ElementFactory::make("videoconvert").build().map_err(fail)?;
        let exit = gst_app::AppSink::builder().caps(caps).sync(false).build();
        let chain = [entry.upcast_ref(), &convert, exit.upcast_ref()];
        pipeline.add_many(chain).map_err(fail)?;
        gst::Element::link_many(chain).map_err(fail)?;
        pipeline.set_state(gst::State::Playing).map_err(|error| error.to_string())?;
        Ok(Easel { caps: caps.clone(), picture, pipeline, entry, exit })
    }

    /// None when the format cannot be made.
    fn paint(&self, letters: Option<&Letters>, health: &SourceHealth, clock: &str) -> Option<gst::Sample> {
        let mut buffer = gst::Buffer::with_size(self.picture.size()).ok()?;
        {
            let buffer = buffer.get_mut()?;
            buffer.set_pts(gst::ClockTime::ZERO);
            let mut bytes = buffer.map_writable().ok()?;
            let luma = self.picture.offset()[1].min(bytes.len());
            bytes[luma..].fill(128);
            bytes[..luma].fill(GROUND);
            let mut plane = Plane {
                bytes: &mut bytes[..luma],
                stride: self.picture.stride()[0].unsigned_abs() as usize,
                width: self.picture.width() as usize,
                height: self.picture.height() as usize,
            };
            if let Some(letters) = letters {
                draw(letters, &mut plane, health, clock);
            }
        }
        self.entry.push_buffer(buffer).ok()?;
        let painted = self.exit.try_pull_sample(PATIENCE)?;
        let mut buffer = painted.buffer_owned()?;
        buffer.make_mut().set_duration(gst::ClockTime::NONE);
        // The hub's caps themselves: an encoder that sees no other ones does not start anew.
        Some(gst::Sample::builder().buffer(&buffer).caps(&self.caps).build())
    }
}

impl Drop for Easel {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// What happened, large and in the middle; below it what to do; the product's name above, the time of day beneath.
fn draw(letters: &Letters, plane: &mut Plane<'_>, health: &SourceHealth, clock: &str) {
    let (width, height) = (plane.width as f32, plane.height as f32);
    // Letters are as large on a wide picture as on a narrow one of its height, unless it is narrow indeed.
    let unit = (height / 18.0).min(width / 24.0).max(8.0);
    let style = |lines: f32, ink: u8| Style { line: unit * lines, ink };
    let (title, reason, small) = (style(2.2, WHITE), style(1.2, SOFT), style(1.0, FAINT));
    let margin = unit * 1.2;
    letters.write(plane, (margin, margin), "Capcast", small);
    let clock_at = (width - margin - letters.width(clock, small), height - margin - small.line);
    letters.write(plane, clock_at, clock, small);

    let room = width - 2.0 * margin;
    let mut lines: Vec<(String, Style)> = Vec::new();
    lines.extend(letters.wrap(health.state.title(), title, room).into_iter().map(|line| (line, title)));
    lines.extend(letters.wrap(&health.reason, reason, room).into_iter().map(|line| (line, reason)));
    let tall: f32 = lines.iter().map(|(_, style)| style.line).sum();
    let mut y = (height - tall) / 2.0;
    for (line, style) in lines {
        letters.write(plane, ((width - letters.width(&line, style)) / 2.0, y), &line, style);
        y += style.line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::SourceState;

    fn bytes(sample: &gst::Sample) -> Vec<u8> {
        sample.buffer().unwrap().map_readable().unwrap().to_vec()
    }

    #[test]
    fn the_slate_says_why_in_every_format_that_is_captured() {
        gst::init().unwrap();
        let letters = Letters::load().unwrap();
        for format in ["I420", "NV12", "YV12", "YUY2", "UYVY", "NV16", "BGR"] {
            let caps = format!(
                "video/x-raw,format={format},width=640,height=360,framerate=30/1,\
                 interlace-mode=progressive,pixel-aspect-ratio=1/1,colorimetry=bt601"
            );
            let caps: gst::Caps = caps.parse().unwrap();
            let easel = Easel::set_up(&caps).unwrap_or_else(|reason| panic!("{format}: {reason}"));
            let paint = |state| easel.paint(Some(&letters), &SourceHealth::of(state), "12:00:00").unwrap();
            let of = |state| bytes(&paint(state));
            let (lost, gone) = (of(SourceState::NoSignal), of(SourceState::Gone));
            assert!(lost != gone, "{format}: different words, the same picture");
            assert!(lost.iter().filter(|byte| **byte > 200).count() > 500, "{format}: no words on it");
            assert_eq!(lost, of(SourceState::NoSignal), "{format}: the same words, the same picture");
            assert_eq!(paint(SourceState::Busy).caps(), Some(caps.as_ref()), "{format}");
        }
    }

    #[test]
    fn every_reason_fits_on_small_and_large_slates() {
        let letters = Letters::load().unwrap();
        for (width, height) in [(320, 180), (640, 360), (1920, 1080), (720, 1280)] {
            for state in SourceState::ALL {
                let mut bytes = vec![GROUND; width * height];
                let mut plane = Plane { bytes: &mut bytes, stride: width, width, height };
                draw(&letters, &mut plane, &SourceHealth::of(state), "23:59:59");
                let edge = bytes.chunks(width).all(|line| line[0] == GROUND && line[width - 1] == GROUND);
                assert!(
                    edge && bytes[..width].iter().all(|luma| *luma == GROUND),
                    "{state} at {width}x{height}"
                );
            }
        }
    }
}
