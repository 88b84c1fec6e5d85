//! What another process writes, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Lines that another process writes, as they come.
#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Lines {
        let shared = Lines(Arc::new((Mutex::default(), Condvar::new())));
        let mine = shared.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                mine.0.0.lock().unwrap().lines.push(line);
                mine.0.1.notify_all();
            }
            mine.0.0.lock().unwrap().ended = true;
            mine.0.1.notify_all();
        });
        shared
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Line `index`, once it is there; none when the lines end before it or time runs out.
    pub(crate) fn at(&self, index: usize, limit: Duration) -> Option<String> {
        let written = self.0.0.lock().unwrap();
        let missing = |written: &mut Written| written.lines.len() <= index && !written.ended;
        let (written, _) = self.0.1.wait_timeout_while(written, limit, missing).unwrap();
        written.lines.get(index).cloned()
    }

    /// The first line of which `pick` makes something.
    pub(crate) fn find<T>(&self, limit: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        (0..).find_map(|index| {
            let line = self.at(index, deadline.saturating_duration_since(Instant::now()));
            line.map_or(Some(None), |line| pick(&line).map(Some))
        })?
    }
}
