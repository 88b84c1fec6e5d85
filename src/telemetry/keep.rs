//! From `tracing`'s events to the ring's lines.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::ring::{LogRing, wall_clock};

/// Puts every event that the filter lets through into a ring.
#[derive(Debug)]
pub(super) struct Keep(pub(super) LogRing);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let meta = event.metadata();
        self.0.push(wall_clock(), *meta.level(), meta.target(), line.words + &line.fields);
    }
}

/// An event as text: the message first, then its fields.
#[derive(Default)]
struct Line {
    words: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.words, "{value}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.words, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_event_becomes_one_line_with_its_fields() {
        let ring = LogRing::new(1);
        let subscriber = tracing_subscriber::registry().with(Keep(ring.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(after_ms = 12, name = "x", why = %"words", "{} frames lost", 3);
        });
        let lines = ring.after(0, 10).lines;
        assert_eq!(lines[0].words, "3 frames lost after_ms=12 name=\"x\" why=words");
        assert_eq!((lines[0].level, lines.len()), (tracing::Level::WARN, 1));
        assert!(lines[0].target.ends_with("telemetry::keep::tests"), "{}", lines[0].target);
        assert!(lines[0].at.as_secs() > 1_700_000_000, "{:?}", lines[0].at);
    }
}
