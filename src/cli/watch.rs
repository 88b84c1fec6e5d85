//! `capcast status --watch`: the same page, drawn again as the daemon tells its state.

use std::io::{IsTerminal, Write, stdout};
use std::ops::ControlFlow;

use anyhow::Context;
use serde_json::Value;

use super::status::page;
use super::{Outcome, client};

/// Another screen, so that the terminal is as it was when this ends; no cursor; lines are cut rather than wrapped.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Shows the state until Ctrl-C, or until the daemon ends. Where stdout is no terminal, one line for each change of words.
pub(super) fn run(json: bool) -> anyhow::Result<Outcome> {
    if json || !stdout().is_terminal() {
        let mut said = String::new();
        return client::states(|text| {
            if json {
                return super::tell(&format!("{text}\n"));
            }
            let state = parsed(&text)?;
            let words = super::status::text(&state, "words").to_owned();
            if words == said {
                return Ok(ControlFlow::Continue(()));
            }
            said = words;
            super::tell(&format!("{said}\n"))
        });
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let mut screen = Screen { begun: false };
    let ended = client::states(|text| screen.draw(&page(&parsed(&text)?, colour)));
    drop(screen);
    ended
}

fn parsed(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).context("the daemon's state is not JSON")
}

/// The terminal while it is drawn on; given back as it was when this goes.
struct Screen {
    begun: bool,
}

impl Screen {
    /// Draws over what is there, so that nothing flickers.
    fn draw(&mut self, page: &str) -> anyhow::Result<ControlFlow<Outcome>> {
        let begin = if std::mem::replace(&mut self.begun, true) { "" } else { BEGIN };
        let lines: String = page.lines().map(|line| format!("{line}\x1b[K\r\n")).collect();
        super::tell(&format!("{begin}\x1b[H{lines}\r\n\x1b[2mCtrl-C ends\x1b[0m\x1b[K\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.begun {
            // A terminal that is gone needs no tidying.
            let _ = stdout().write_all(END.as_bytes());
            let _ = stdout().flush();
        }
    }
}
