//! A child process with a time limit, and what became of it in words.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value as Json;

use super::starved::starved;
use crate::plan::Verdict;

/// More than the child's own limit, so that its words come first.
const GRACE: Duration = Duration::from_secs(3);

/// So often that time a child may take in all.
const WHOLE: u32 = 6;

/// How often a silent child is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long a killed child may take to go. One that sleeps inside the kernel is left behind.
const GOODBYE: Duration = Duration::from_secs(1);

/// The longest line of an answer, and the most that is kept of what a driver says.
const LONGEST: u64 = 64 * 1024;

/// What came of a trial.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// The shared libraries it worked with, where it did.
    pub(super) libraries: Vec<String>,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Outcome {
        Outcome { verdict, libraries: Vec::new() }
    }
}

/// Runs `program probe-encoder` for one question.
///
/// # Errors
/// When there is no child to ask, in words.
pub(super) fn child(
    program: &Path,
    question: &Json,
    patience: Duration,
    hardware: bool,
) -> Result<Outcome, String> {
    let whose = if hardware { "its driver" } else { "it" };
    let spawned = Command::new(program)
        .arg("probe-encoder")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that what it starts itself goes with it.
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Err(format!("`{}` cannot be started: {error}", program.display())),
    };
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("a child without pipes".to_owned());
    };
    let question = question.to_string();
    // A child that reads nothing must not hold this up.
    std::thread::spawn(move || drop(stdin.write_all(question.as_bytes())));
    let (tell, lines) = sync_channel(64);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout.take(LONGEST)).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let (tell, said) = channel();
    std::thread::spawn(move || drop(tell.send(last_words(stderr))));

    let outcome = listen(&lines, child.id(), patience);
    let status = end(&mut child, outcome.is_some() || !lines_ended(&lines));
    let verdict = match (outcome, status) {
        (Some(outcome), _) => return Ok(outcome),
        (None, Some(status)) if status.signal() != Some(Signal::SIGKILL as i32) => {
            let said = said.recv_timeout(GOODBYE).unwrap_or_default();
            Verdict::Fails(format!("{whose} {}{}", ending(status), because(&said)))
        }
        (None, _) => Verdict::Fails(format!("{whose} hung: no answer in {} s", (patience + GRACE).as_secs())),
    };
    Ok(verdict.into())
}

/// What came of it; nothing when the child ends without or falls silent. Time in which it was ready and got no core does not count.
fn listen(lines: &Receiver<String>, child: u32, patience: Duration) -> Option<Outcome> {
    let process = child.to_string();
    let over = now() + (patience + GRACE) * WHOLE;
    let (mut since, mut starved_then) = (now(), starved(&process));
    loop {
        let line = match lines.recv_timeout(LOOK.min(over.saturating_duration_since(now()))) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                let waited = starved(&process).saturating_sub(starved_then);
                let silent = now().saturating_duration_since(since).saturating_sub(waited);
                if silent > patience + GRACE || now() >= over {
                    return None;
                }
                continue;
            }
        };
        (since, starved_then) = (now(), starved(&process));
        // A library may write to stdout, too.
        let Ok(line) = serde_json::from_str::<Json>(&line) else { continue };
        if let Some(reason) = line["fails"].as_str() {
            return Some(Verdict::Fails(reason.to_owned()).into());
        }
        if let Some(runs) = line.get("runs") {
            let frames = u32::try_from(runs["frames"].as_u64()?).ok()?;
            let verdict = Verdict::Runs { frames, took: Duration::from_micros(runs["took_us"].as_u64()?) };
            let libraries = line["libraries"].as_array().into_iter().flatten();
            let libraries = libraries.filter_map(|path| Some(path.as_str()?.to_owned())).collect();
            return Some(Outcome { verdict, libraries });
        }
    }
}

/// Has the child closed its output, as it does when it ends?
fn lines_ended(lines: &Receiver<String>) -> bool {
    matches!(lines.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected))
}

/// Ends the child with all that it started, or waits for one that ends by itself; none when it does not go.
fn end(child: &mut Child, kill: bool) -> Option<ExitStatus> {
    let group = i32::try_from(child.id()).ok().map(Pid::from_raw);
    if kill && let Some(group) = group {
        let _ = killpg(group, Signal::SIGKILL);
    }
    let over = now() + GOODBYE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                // What it started and left behind.
                if let Some(group) = group {
                    let _ = killpg(group, Signal::SIGKILL);
                }
                return Some(status);
            }
            Ok(None) if now() < over => std::thread::park_timeout(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                if let Some(group) = group {
                    let _ = killpg(group, Signal::SIGKILL);
                }
                return None;
            }
        }
    }
}

/// `crashed (signal 11, SIGSEGV)`
fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => match Signal::try_from(number) {
            Ok(signal) => format!("crashed (signal {number}, {})", signal.as_str()),
            Err(_) => format!("crashed (signal {number})"),
        },
        (None, Some(code)) => format!("ended the process with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// What it said last, as the reason.
fn because(said: &str) -> String {
    let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(String::new, |line| {
        let short: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        format!(": {short}")
    })
}

/// The end of what it says; the rest is read and forgotten, so that it never waits for a reader.
fn last_words(mut stderr: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stderr.read(&mut piece) {
        kept.extend_from_slice(&piece[..length]);
        let surplus = kept.len().saturating_sub(4096);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "a child's time limit")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_is_said_is_kept() {
        let flood = "x".repeat(100_000) + "\n\nlast: reason\n\n";
        let said = last_words(flood.as_bytes());
        assert!(said.len() <= 4096, "{}", said.len());
        assert_eq!(because(&said), ": last: reason");
        assert_eq!(because(""), "");
    }
}
