//! A progress bar on stderr, on a terminal only.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::probe::Step;

/// How far the trying of encoders is.
pub(super) struct Progress {
    bar: ProgressBar,
    under_way: Mutex<Vec<String>>,
}

impl Progress {
    /// A bar without steps yet; where stderr is no terminal it shows nothing.
    pub(super) fn new(what: &'static str) -> Progress {
        let bar = ProgressBar::new(0);
        set(&bar, "{prefix}: {wide_msg}");
        bar.set_prefix(what);
        Progress { bar, under_way: Mutex::default() }
    }

    /// Encoders are to be tried, one is, or was.
    pub(super) fn step(&self, step: Step<'_>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match step {
            Step::Begin(0) => {}
            Step::Begin(number) => {
                set(&self.bar, "{prefix} [{bar:24}] {pos}/{len}  {wide_msg}");
                self.bar.inc_length(number as u64);
            }
            Step::Trying(name) => under_way.push(name.to_owned()),
            Step::Done(name, _) => {
                under_way.retain(|other| other != name);
                self.bar.inc(1);
            }
        }
        self.bar.set_message(under_way.join(", "));
    }

    /// Says what is looked at otherwise.
    pub(super) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn set(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}
