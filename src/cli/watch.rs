//! `capcast status --watch`: the same page, drawn again as the daemon tells its state.

use std::io::{IsTerminal, Write, stdout};
use std::ops::ControlFlow;

use anyhow::Context;
use serde_json::Value;

use super::status::page;
use super::{Outcome, client};

/// Another screen, so that the terminal is as it was when this ends; no cursor; what is wider than it looks is not wrapped.
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
    let ended = client::states(|text| {
        // It may have become another one meanwhile; what tells no size is as large as it takes.
        let size = terminal_size::terminal_size().map(|(width, height)| (width.0.into(), height.0.into()));
        screen.draw(&fitted(&page(&parsed(&text)?, colour), size))
    });
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
    fn draw(&mut self, lines: &[String]) -> anyhow::Result<ControlFlow<Outcome>> {
        let begin = if std::mem::replace(&mut self.begun, true) { "" } else { BEGIN };
        super::tell(&format!("{begin}\x1b[H{}\x1b[J", lines.join("\r\n")))
    }
}

/// The page with its last line, as many lines and characters as the terminal has, each wiping what stood behind it.
fn fitted(page: &str, size: Option<(usize, usize)>) -> Vec<String> {
    let (width, height) = size.unwrap_or((usize::MAX, usize::MAX));
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    if lines.len().saturating_add(2) <= height {
        lines.extend([String::new(), "\x1b[2mCtrl-C ends\x1b[0m".to_owned()]);
    } else {
        let left_out = (lines.len() + 1).saturating_sub(height);
        lines.truncate(height.saturating_sub(1));
        let more = if left_out > 0 { format!("{left_out} more lines; ") } else { String::new() };
        lines.push(format!("\x1b[2m{more}Ctrl-C ends\x1b[0m"));
    }
    lines.iter().map(|line| format!("{}\x1b[K", cut(line, width))).collect()
}

/// A line of so many characters at most; its colours take no room.
fn cut(line: &str, width: usize) -> String {
    let (mut seen, mut colour) = (0, false);
    line.chars()
        .filter(|letter| {
            colour |= *letter == '\x1b';
            let kept = colour || seen < width;
            seen += usize::from(!colour);
            colour &= *letter != 'm';
            kept
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_terminal() {
        let page = "\x1b[1;32mOn air\x1b[0m: 2 viewers\nsecond\nthird\nfourth\n";
        let drawn = |size| fitted(page, size).join("\n").replace("\x1b[K", "");
        let all = format!("{page}\n\x1b[2mCtrl-C ends\x1b[0m");
        assert_eq!(drawn(None), all);
        assert_eq!(drawn(Some((80, 6))), all);
        assert_eq!(drawn(Some((80, 5))), format!("{page}\x1b[2mCtrl-C ends\x1b[0m"));
        let first = "\x1b[1;32mOn air\x1b[0m: 2 viewers";
        assert_eq!(drawn(Some((80, 3))), format!("{first}\nsecond\n\x1b[2m2 more lines; Ctrl-C ends\x1b[0m"));
        assert_eq!(drawn(Some((4, 3))), "\x1b[1;32mOn a\x1b[0m\nseco\n\x1b[2m2 mo\x1b[0m");
        assert_eq!(drawn(Some((80, 1))), "\x1b[2m4 more lines; Ctrl-C ends\x1b[0m");
    }
}
