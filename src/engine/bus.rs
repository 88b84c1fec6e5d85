//! A graph's own thread: it starts the graph, then sleeps on its bus and turns messages into events and reactions. A
//! graph that hangs while starting or seeking holds up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::media::{Fault, MediaTime};

use super::events::{EventSink, GraphError, GraphEvent, Takeover};
use super::log::Limit;
use super::looping::Looping;
use super::teardown::Ascent;

/// What a streaming thread tells the graph's own thread, through the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Flowing,
    LinkCut,
    OnAir(Takeover),
    /// A file that is joined in the middle of its turn.
    Seek(Duration),
    /// The graph is gone.
    Stop,
}

const NOTE: &str = "capcast-note";

impl Note {
    fn message(self, source: Option<&gst::Element>) -> gst::Message {
        let fields = gst::Structure::builder(NOTE);
        let fields = match self {
            Note::Flowing => fields.field("what", "flowing"),
            Note::LinkCut => fields.field("what", "link-cut"),
            Note::Seek(to) => fields.field("what", "seek").field("a", nanos(to)),
            Note::Stop => fields.field("what", "stop"),
            Note::OnAir(Takeover { gap, shifted }) => {
                fields.field("what", "on-air").field("a", nanos(gap)).field("b", nanos(shifted))
            }
        };
        gst::message::Application::builder(fields.build()).src_if_some(source).build()
    }

    pub(super) fn read(fields: &gst::StructureRef) -> Option<Note> {
        if fields.name() != NOTE {
            return None;
        }
        let span = |name| Duration::from_nanos(fields.get::<u64>(name).unwrap_or_default());
        Some(match fields.get::<&str>("what").ok()? {
            "flowing" => Note::Flowing,
            "link-cut" => Note::LinkCut,
            "seek" => Note::Seek(span("a")),
            "on-air" => Note::OnAir(Takeover { gap: span("a"), shifted: span("b") }),
            "stop" => Note::Stop,
            _ => return None,
        })
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Leaves a note on the bus of the graph that `element` is in. Streaming threads may.
pub(super) fn post(element: &impl IsA<gst::Element>, note: Note) {
    // Without a bus the graph is going down, and nobody needs the note.
    let _ = element.post_message(note.message(Some(element.upcast_ref())));
}

/// What the thread works with.
pub(super) struct Watch {
    pub(super) pipeline: gst::Pipeline,
    /// For messages that no node is to blame for.
    pub(super) name: String,
    /// Ids of nodes whose failure is the device's.
    pub(super) devices: Vec<String>,
    pub(super) events: EventSink,
    /// Set when the graph is to go: from then on its complaints are of no interest.
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) ascent: Ascent,
    pub(super) looping: Option<Arc<Looping>>,
    /// How many warnings get through.
    pub(super) warnings: Limit,
    /// Runs once the graph takes buffers.
    pub(super) started: Box<dyn FnOnce() + Send>,
}

/// Drops on the posting thread what nobody looks at, so that the bus stays empty.
pub(super) fn screen(pipeline: &gst::Pipeline) {
    let Some(bus) = pipeline.bus() else { return };
    bus.set_sync_handler(|_, message| {
        use gst::MessageView;
        match message.view() {
            MessageView::Error(_)
            | MessageView::Warning(_)
            | MessageView::Eos(_)
            | MessageView::Latency(_)
            | MessageView::ClockLost(_)
            | MessageView::Application(_) => gst::BusSyncReply::Pass,
            _ => gst::BusSyncReply::Drop,
        }
    });
}

/// Ends a graph's thread.
pub(super) fn end(bus: &gst::Bus) {
    let _ = bus.post(Note::Stop.message(None));
}

impl Watch {
    /// Starts the thread, which starts the graph.
    pub(super) fn spawn(self) -> std::io::Result<()> {
        let name: String = self.name.chars().take(15).collect();
        thread::Builder::new().name(name).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        let Some(bus) = self.pipeline.bus() else { return };
        let outcome = self.ascent.go(|| self.pipeline.set_state(gst::State::Playing));
        let Some(outcome) = outcome else { return };
        let started = std::mem::replace(&mut self.started, Box::new(|| ()));
        match outcome {
            Ok(_) => {
                started();
                self.tell(GraphEvent::Playing);
            }
            Err(_) => self.explain(&bus),
        }
        for message in bus.iter_timed(gst::ClockTime::NONE) {
            if !self.react(&message) {
                break;
            }
        }
    }

    /// An element that refuses a state says why on the bus; for one that does not, words come from here.
    fn explain(&self, bus: &gst::Bus) {
        let waiting: Vec<gst::Message> = bus.iter().collect();
        let explained = waiting.iter().any(|message| message.type_() == gst::MessageType::Error);
        for message in waiting {
            // Put back rather than handled: one of them may be the end.
            let _ = bus.post(message);
        }
        if !explained {
            self.tell(GraphEvent::Error(GraphError {
                fault: Fault::Graph,
                element: self.name.clone(),
                message: "the graph refused to start".to_owned(),
                debug: None,
            }));
        }
    }

    /// False when the thread is to end.
    fn react(&self, from: &gst::Message) -> bool {
        use gst::MessageView;
        match from.view() {
            MessageView::Error(error) => {
                let element = self.node(from);
                let device = self.devices.contains(&element);
                self.tell(GraphEvent::Error(GraphError {
                    fault: if device { Fault::Device } else { Fault::Graph },
                    element,
                    message: words(&error.error(), error.debug().as_deref()),
                    debug: error.debug().map(|text| text.to_string()),
                }));
            }
            // Some elements warn at every frame.
            MessageView::Warning(warning) if self.warnings.admit().is_some() => {
                self.tell(GraphEvent::Warning {
                    element: self.node(from),
                    message: words(&warning.error(), warning.debug().as_deref()),
                });
            }
            MessageView::Eos(_) => {
                let again = self.looping.as_ref().is_some_and(|looping| looping.again(&self.pipeline));
                if !again {
                    self.tell(GraphEvent::Ended);
                }
            }
            MessageView::Latency(_) => {
                let _ = self.pipeline.recalculate_latency();
            }
            MessageView::Application(note) => match note.structure().and_then(Note::read) {
                Some(Note::Stop) => return false,
                Some(Note::Flowing) => self.tell(GraphEvent::Flowing),
                Some(Note::LinkCut) => self.tell(GraphEvent::LinkCut),
                Some(Note::OnAir(takeover)) => self.tell(GraphEvent::OnAir(takeover)),
                Some(Note::Seek(to)) => Looping::join(&self.pipeline, MediaTime::default() + to),
                None => {}
            },
            _ => {}
        }
        true
    }

    fn tell(&self, event: GraphEvent) {
        if !self.stopping.load(Ordering::Acquire) {
            (self.events)(event);
        }
    }

    /// The node a message comes from: a bin such as `decodebin` answers for the elements in it.
    fn node(&self, message: &gst::Message) -> String {
        let pipeline = self.pipeline.upcast_ref::<gst::Object>();
        let mut object = message.src().cloned();
        while let Some(inner) = object {
            match inner.parent() {
                Some(parent) if parent == *pipeline => return inner.name().to_string(),
                parent => object = parent,
            }
        }
        self.name.clone()
    }
}

/// GStreamer's message with its detail, which is the part that names things: `Resource not found: No such file "/x"`.
/// The debug text is `file.c(line): function (): /path/of/element:` and the detail on the lines after it.
pub(super) fn words(error: &glib::Error, debug: Option<&str>) -> String {
    if error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound) {
        return "it holds none of what is wanted here, or what would decode that is not installed".to_owned();
    }
    let message = error.message().trim_end_matches('.');
    let detail = debug.and_then(|debug| debug.split_once('\n')).map(|(_, detail)| detail.trim());
    match detail.and_then(|detail| detail.lines().next()).filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("{message}: {}", detail.trim_end_matches(['.', ':'])),
        None => message.to_owned(),
    }
}
