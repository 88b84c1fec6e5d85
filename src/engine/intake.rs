//! Where access units enter: an `appsrc` that holds so much and drops whole frames, up to the next keyframe, beyond it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::Outlet;
use super::clock::Timebase;
use super::container::remainder::Succession;
use super::counters::Flow;
use super::webrtc::Waiting;
use crate::media::{AccessUnit, Codec, MediaKind, MediaTime};
use crate::plan::QueueClass;

/// One medium's way into the pipeline. The outlet calls it on an encoder's streaming thread, one unit after the other.
pub(super) struct Intake {
    appsrc: glib::WeakRef<gst_app::AppSrc>,
    outlet: Outlet,
    codec: Codec,
    limits: QueueClass,
    timebase: Timebase,
    /// The connection stands.
    open: AtomicBool,
    /// Nothing gets in before a keyframe.
    waits: AtomicBool,
    /// What did not get in since then was lost rather than not yet wanted.
    losing: AtomicBool,
    dropped: AtomicU64,
    /// Nothing gets in before something of this did.
    leader: OnceLock<Arc<Intake>>,
    /// For a file: it holds what one encoder makes.
    succession: OnceLock<Succession>,
    /// PTS of the last unit, and how many came with an earlier one than the unit before them.
    last: AtomicU64,
    reordered: AtomicU64,
    flow: Flow,
}

impl Intake {
    pub(super) fn new(
        appsrc: &gst_app::AppSrc,
        outlet: Outlet,
        codec: Codec,
        limits: QueueClass,
        timebase: Timebase,
    ) -> Arc<Intake> {
        Arc::new(Intake {
            appsrc: appsrc.downgrade(),
            outlet,
            codec,
            limits,
            timebase,
            open: AtomicBool::new(false),
            waits: AtomicBool::new(true),
            losing: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            leader: OnceLock::new(),
            succession: OnceLock::new(),
            last: AtomicU64::new(0),
            reordered: AtomicU64::new(0),
            flow: Flow::default(),
        })
    }

    /// Begins with another: sound that comes before the first picture would only wait for it in the muxer.
    pub(super) fn follow(&self, leader: &Arc<Intake>) {
        // The first one stays.
        let _ = self.leader.set(Arc::clone(leader));
    }

    /// Takes what one encoder makes and keeps the rest for the next file; begins with what the file before kept, if there is
    /// one.
    pub(super) fn succeed(&self, before: Option<&Arc<Intake>>) {
        let succession = self.succession.get_or_init(Succession::default);
        if let Some(before) = before {
            succession.follow(before);
        }
    }

    pub(super) fn succession(&self) -> Option<&Succession> {
        self.succession.get()
    }

    /// Another encoder has taken over, and what it makes is kept.
    pub(super) fn is_over(&self) -> bool {
        self.succession().is_some_and(Succession::is_over)
    }

    /// Lets media in from its next keyframe on, and asks for one where it does not wait already.
    pub(super) fn open(&self) {
        if !self.open.load(Relaxed) {
            // It may have been open before.
            self.waits.store(true, Relaxed);
            self.losing.store(false, Relaxed);
            self.open.store(true, Relaxed);
            if !self.succession().is_some_and(Succession::follows) {
                self.ask();
            }
        }
    }

    /// Somebody else takes part from now on: lets media in, and asks for a keyframe in any case.
    pub(super) fn welcome(&self) {
        if self.open.load(Relaxed) { self.ask() } else { self.open() }
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        self.open.store(false, Relaxed);
    }

    /// Lets nothing in any more, and says downstream that this was the end.
    pub(super) fn end(&self) {
        self.close();
        if let Some(appsrc) = self.appsrc.upgrade() {
            // Refused only while the pipeline goes down.
            let _ = appsrc.end_of_stream();
        }
    }

    pub(super) fn kind(&self) -> MediaKind {
        self.codec.kind()
    }

    pub(super) fn now(&self) -> MediaTime {
        self.timebase.now()
    }

    pub(super) fn flow(&self) -> &Flow {
        &self.flow
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Units that came after one that is shown later.
    pub(super) fn reordered(&self) -> u64 {
        self.reordered.load(Relaxed)
    }

    /// What waits now, and may.
    pub(super) fn waiting(&self) -> Waiting {
        let limits =
            Waiting { most_units: self.limits.buffers, most_time: self.limits.time, ..Waiting::default() };
        let Some(appsrc) = self.appsrc.upgrade() else { return limits };
        Waiting {
            units: appsrc.property("current-level-buffers"),
            time: Duration::from_nanos(appsrc.property("current-level-time")),
            ..limits
        }
    }

    /// One access unit: in, or dropped.
    pub(super) fn take(&self, unit: &AccessUnit) {
        if !self.open.load(Relaxed) {
            return;
        }
        let leader = self.leader.get();
        if let Some(succession) = self.succession() {
            // The picture ends the file, for the sound too.
            if leader.map_or_else(|| succession.ends(unit), |leader| leader.is_over()) {
                let lost = succession.keep(unit, self.limits);
                if lost > 0 {
                    self.dropped.fetch_add(lost, Relaxed);
                    self.ask();
                }
                return;
            }
        }
        if unit.codec != self.codec {
            return;
        }
        if self.waits.load(Relaxed) && leader.is_some_and(|leader| leader.waits.load(Relaxed)) {
            return;
        }
        let inherited = self.succession().map(Succession::inherit).unwrap_or_default();
        for kept in inherited.iter() {
            self.take(kept);
        }
        if inherited.last().is_some_and(|last| last.pts >= unit.pts) {
            // The file before was given it first.
            return;
        }
        if !unit.keyframe && unit.pts.as_nanos() < self.last.load(Relaxed) {
            self.reordered.fetch_add(1, Relaxed);
        }
        self.last.store(unit.pts.as_nanos(), Relaxed);
        let Some(appsrc) = self.appsrc.upgrade() else { return };
        if self.waits.load(Relaxed) && !unit.keyframe {
            if self.losing.load(Relaxed) {
                self.dropped.fetch_add(1, Relaxed);
            }
            return;
        }
        if self.is_full(&appsrc, unit.data.len()) {
            self.dropped.fetch_add(1, Relaxed);
            self.losing.store(true, Relaxed);
            self.waits.store(true, Relaxed);
            self.ask();
            return;
        }
        let bytes = unit.data.len();
        let mut buffer = gst::Buffer::from_slice(Arc::clone(&unit.data));
        if let Some(buffer) = buffer.get_mut() {
            let pts = gst::ClockTime::from_nseconds(unit.pts.as_nanos());
            buffer.set_pts(pts);
            buffer.set_dts(pts);
            if !unit.keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // Refused only while the pipeline goes down.
        if appsrc.push_buffer(buffer).is_ok() {
            // Sound's units all decode by themselves.
            self.waits.store(false, Relaxed);
            self.losing.store(false, Relaxed);
            if let Some(succession) = self.succession() {
                succession.begin(unit.make);
            }
            self.flow.record(self.timebase.now(), bytes);
        }
    }

    fn is_full(&self, appsrc: &gst_app::AppSrc, bytes: usize) -> bool {
        let reached = |limit: u64, level: &str, more: u64| {
            limit > 0 && appsrc.property::<u64>(level).saturating_add(more) > limit
        };
        let time = u64::try_from(self.limits.time.as_nanos()).unwrap_or(u64::MAX);
        reached(self.limits.buffers, "current-level-buffers", 1)
            || reached(time, "current-level-time", 0)
            || reached(self.limits.bytes, "current-level-bytes", bytes as u64)
    }

    fn ask(&self) {
        if self.kind() == MediaKind::Video {
            self.outlet.request_keyframe();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::media::Make;

    /// An intake whose pipeline takes nothing before it plays, and holds a second.
    fn intake(engine: &Engine) -> (Arc<Intake>, gst::Pipeline, gst_app::AppSrc) {
        let appsrc = gst_app::AppSrc::builder().is_live(true).format(gst::Format::Time).build();
        let sink = gst::ElementFactory::make("fakesink").property("async", false).build().unwrap();
        let pipeline = gst::Pipeline::new();
        let chain = [appsrc.upcast_ref::<gst::Element>(), &sink];
        pipeline.add_many(chain).unwrap();
        gst::Element::link_many(chain).unwrap();
        pipeline.set_state(gst::State::Paused).unwrap();
        let outlet = engine.outlet(MediaKind::Video);
        let limits = QueueClass { buffers: 0, time: Duration::from_secs(1), bytes: 0 };
        let intake = Intake::new(&appsrc, outlet, Codec::Vp8, limits, engine.shared.timebase.clone());
        (intake, pipeline, appsrc)
    }

    fn unit(number: u64, keyframe: bool) -> AccessUnit {
        let pts = MediaTime::from_nanos(number * 100_000_000);
        AccessUnit { codec: Codec::Vp8, pts, keyframe, make: Make::default(), data: vec![0; 100].into() }
    }

    #[test]
    fn the_next_file_begins_with_the_picture_that_ended_the_one_before() {
        let engine = Engine::new().unwrap();
        let [(one, first, _), (two, second, _), (three, third, _)] = [(); 3].map(|()| intake(&engine));
        let made = |encoder, number, keyframe| AccessUnit {
            make: Make { encoder, size: None },
            ..unit(number, keyframe)
        };
        one.succeed(None);
        one.open();
        one.take(&made(7, 0, true));
        one.take(&made(7, 1, false));
        assert!(!one.is_over());
        for number in 2..5 {
            one.take(&made(8, number, number == 2));
        }
        assert_eq!((one.is_over(), one.flow.frames(), one.dropped()), (true, 2, 0));
        let asked = two.outlet.keyframe_requests().0;
        two.succeed(Some(&one));
        two.open();
        assert_eq!(two.outlet.keyframe_requests().0, asked, "the keyframe is there");
        for number in 5..7 {
            let next = made(8, number, false);
            one.take(&next);
            two.take(&next);
        }
        assert_eq!((two.flow.frames(), two.dropped()), (5, 0), "2 to 6, each once");
        // Another codec is kept as well, and what is too much goes up to the next keyframe.
        for number in 7..30 {
            two.take(&AccessUnit { codec: Codec::Vp9, ..made(9, number, number == 7 || number == 25) });
        }
        assert_eq!((two.flow.frames(), two.dropped()), (5, 18));
        three.succeed(Some(&two));
        three.open();
        three.take(&made(9, 30, false));
        assert_eq!(three.flow.frames(), 0, "it is of another codec than this file");
        for pipeline in [first, second, third] {
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_up_to_the_next_keyframe_and_counted() {
        let engine = Engine::new().unwrap();
        let (intake, pipeline, appsrc) = intake(&engine);
        let asked = || intake.outlet.keyframe_requests().0;
        intake.take(&unit(0, true));
        assert_eq!((intake.flow.frames(), asked()), (0, 0), "not connected yet");
        intake.open();
        assert_eq!(asked(), 1, "viewers wait for a picture");
        intake.take(&unit(1, false));
        assert_eq!((intake.flow.frames(), intake.dropped()), (0, 0), "not yet wanted is not lost");
        for number in 2..40 {
            intake.take(&unit(number, number == 2));
        }
        let (held, dropped) = (intake.flow.frames(), intake.dropped());
        assert!((10..=12).contains(&held) && held + dropped == 38, "{held} in, {dropped} dropped");
        assert_eq!(asked(), 2, "once for the whole gap");

        pipeline.set_state(gst::State::Playing).unwrap();
        let began = engine.now();
        while appsrc.current_level_buffers() > 0 {
            assert!(engine.now().saturating_since(began) < Duration::from_secs(30), "it does not drain");
            std::thread::yield_now();
        }
        intake.take(&unit(40, false));
        assert_eq!(
            (intake.flow.frames(), intake.dropped()),
            (held, dropped + 1),
            "it refers to what was lost"
        );
        intake.take(&unit(41, true));
        intake.take(&unit(42, false));
        assert_eq!((intake.flow.frames(), intake.dropped()), (held + 2, dropped + 1));
        intake.take(&AccessUnit { codec: Codec::Vp9, ..unit(43, true) });
        assert_eq!(intake.flow.frames(), held + 2, "another codec was not offered");
        assert_eq!(intake.reordered(), 0);
        intake.take(&unit(45, false));
        intake.take(&unit(44, false));
        assert_eq!(intake.reordered(), 1, "shown before what came before it");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
