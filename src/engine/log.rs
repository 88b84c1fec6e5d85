//! GStreamer's and GLib's own log lines, into `tracing` and never more than a few a second.

use std::sync::atomic::{AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::glib;

/// Lines let through per second; the rest is counted and the count is said with the next line that passes.
const LINES_PER_SECOND: u64 = 8;

/// Replaces GStreamer's log output on stderr by `tracing`. A `GST_DEBUG` of the user still decides what is logged, and
/// its lines come at `debug` level.
///
/// An element's ERROR line is at most a warning here: what matters arrives on the bus as well, with a cause.
pub(super) fn route() {
    gst::log::remove_default_log_function();
    if std::env::var_os("GST_DEBUG").is_none() {
        gst::log::set_default_threshold(gst::DebugLevel::Warning);
    }
    let limit = Limit::default();
    gst::log::add_log_function(move |category, level, _file, function, _line, object, message| {
        // `srtobject` tells at DEBUG what it was given, passphrase and all.
        if level > gst::DebugLevel::Info && category.name() == "srtobject" {
            return;
        }
        let Some(missed) = limit.admit() else { return };
        let category = category.name();
        let text = message.get().map(|text| text.to_string()).unwrap_or_default();
        let object = object.map(ToString::to_string).unwrap_or_default();
        if level == gst::DebugLevel::Error {
            tracing::info!(target: "gstreamer", category, %object, missed, "{text}");
        } else {
            tracing::debug!(target: "gstreamer", category, %object, %function, missed, "{text}");
        }
    });
    let limit = Limit::default();
    glib::log_set_default_handler(move |domain, level, text| {
        let Some(missed) = limit.admit() else { return };
        let domain = domain.unwrap_or_default();
        match level {
            glib::LogLevel::Error | glib::LogLevel::Critical => {
                tracing::warn!(target: "glib", domain, missed, "{text}");
            }
            _ => tracing::debug!(target: "glib", domain, missed, "{text}"),
        }
    });
}

/// A counter per second. Lock-free, since lines come from streaming threads.
#[derive(Default)]
pub(super) struct Limit {
    second: AtomicU64,
    lines: AtomicU64,
    missed: AtomicU64,
}

impl Limit {
    /// How many lines were missed since the last one that passed, or none when this one must not pass either.
    pub(super) fn admit(&self) -> Option<u64> {
        self.admit_at(gst::get_timestamp().seconds())
    }

    fn admit_at(&self, second: u64) -> Option<u64> {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND {
            Some(self.missed.swap(0, Ordering::Relaxed))
        } else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_its_size_is_said() {
        let limit = Limit::default();
        let passed = (0..100).filter(|_| limit.admit_at(7).is_some()).count() as u64;
        assert_eq!(passed, LINES_PER_SECOND);
        assert_eq!(limit.admit_at(8), Some(100 - LINES_PER_SECOND));
        assert_eq!(limit.admit_at(8), Some(0));
    }
}
