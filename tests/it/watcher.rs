//! Programs beside the daemon that watch it, publish to it or take from it, and tell what they see.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{setup, source};
use crate::lines::Lines;

/// A program that writes one JSON object a line: `tests/browser/player.mjs` and the like.
pub(crate) struct Watcher {
    process: Child,
    facts: Lines,
    complaints: Lines,
    taken: usize,
}

impl Watcher {
    /// Chromium on a page of the appliance.
    pub(crate) fn chromium(url: &str, options: &[&str]) -> Watcher {
        Watcher::browser("player.mjs", url, options)
    }

    /// A script of `tests/browser/` at a page of the appliance.
    pub(crate) fn browser(script: &str, url: &str, options: &[&str]) -> Watcher {
        setup("setup/npm", &["tests/browser"]);
        let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
        assert!(
            Path::new(&chromium).exists(),
            "the browser tests need Chromium at `{chromium}`\nhint: run `setup/install test`, or name another by CHROMIUM"
        );
        let mut command = Command::new("node");
        command.arg(source("tests/browser").join(script)).arg(url).args(options);
        Watcher::spawn(command)
    }

    /// Chromium as a WHIP server.
    pub(crate) fn chromium_endpoint() -> Watcher {
        Watcher::browser("endpoint.mjs", "--port=0", &[])
    }

    /// Debian's Firefox on a page of the appliance.
    pub(crate) fn firefox(url: &str, options: &[&str]) -> Watcher {
        let firefox = std::env::var("FIREFOX").unwrap_or_else(|_| "/usr/bin/firefox-esr".to_owned());
        assert!(
            Path::new(&firefox).exists(),
            "this test needs Firefox at `{firefox}`\nhint: run `setup/install test`, or name another by FIREFOX"
        );
        let mut command = Command::new("node");
        command.arg(source("tests/browser/firefox.mjs")).arg(url).args(options);
        Watcher::spawn(command)
    }

    /// aiortc at a WHEP endpoint.
    pub(crate) fn aiortc(endpoint: &str, options: &[&str]) -> Watcher {
        Watcher::python("view.py", &[&[endpoint], options].concat())
    }

    /// aiortc that tells how old the test picture is, every so many seconds.
    pub(crate) fn ages(endpoint: &str, every: Duration) -> Watcher {
        let mut command = Command::new(setup("setup/python", &[]));
        command.arg(source("tests/aiortc/age.py")).arg(endpoint);
        command.arg("--every").arg(every.as_secs_f64().to_string());
        Watcher::spawn(command)
    }

    /// aiortc that tells, at each beep of the test source, how far sound and picture are apart.
    pub(crate) fn sync(endpoint: &str) -> Watcher {
        Watcher::python("sync.py", &[endpoint])
    }

    /// aiortc as a WHIP server.
    pub(crate) fn whip_server(options: &[&str]) -> Watcher {
        Watcher::python("receive.py", options)
    }

    /// aiortc publishing by WHIP.
    pub(crate) fn aiortc_publisher(endpoint: &str, options: &[&str]) -> Watcher {
        Watcher::python("publish.py", &[&[endpoint], options].concat())
    }

    fn python(script: &str, arguments: &[&str]) -> Watcher {
        let mut command = Command::new(setup("setup/python", &[]));
        command.arg(source("tests/aiortc").join(script)).args(arguments);
        Watcher::spawn(command)
    }

    /// The end of its input tells it to finish; what it says then can still be read.
    pub(crate) fn hang_up(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Writes it a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Dies without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Hangs: it runs no more, and is not gone either.
    pub(crate) fn hang(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    }

    /// The fact that was taken last, whole.
    pub(crate) fn last(&self) -> Value {
        self.facts.all().get(self.taken - 1).map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
    }

    fn spawn(mut command: Command) -> Watcher {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {command:?}: {error}\nhint: run `setup/install test`")
            });
        let facts = Lines::of(process.stdout.take().unwrap());
        let complaints = Lines::of(process.stderr.take().unwrap());
        Watcher { process, facts, complaints, taken: 0 }
    }

    /// The next fact that has the key `key` (and, given one, that value there); those before it are passed over. Fails
    /// the test when the program reports an error, ends, or takes too long.
    pub(crate) fn expect(&mut self, key: &str, value: Option<&str>, limit: Duration) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(line) = self.facts.at(self.taken, left) else {
                panic!(
                    "no `{key}` {value:?} within {limit:?}; reported: {:#?}, complaints: {:#?}",
                    self.facts.all(),
                    self.complaints.all()
                );
            };
            self.taken += 1;
            let fact: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
            if let Some(error) = fact.get("error") {
                panic!("{error}; reported: {:#?}", self.facts.all());
            }
            match (fact.get(key), value) {
                (Some(found), None) => return found.clone(),
                (Some(found), Some(wanted)) if found == wanted => return fact,
                _ => {}
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The end of its input tells it to clean up and go.
        drop(self.process.stdin.take());
        let _ = self.facts.at(usize::MAX, Duration::from_secs(10));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shown words of a `state` fact.
pub(crate) fn words(fact: &Value) -> &str {
    fact["words"].as_str().unwrap_or_default()
}
