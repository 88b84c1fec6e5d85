//! A real `capcast run` in a directory of its own, and the programs that watch it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a daemon may take to listen.
const START: Duration = Duration::from_secs(30);

/// Encoders and browsers want the machine for themselves: such tests run one after the other.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running daemon. Dropping it kills it, and fails the test when it logged an error.
pub(crate) struct Appliance {
    directory: TempDir,
    process: Child,
    log: Lines,
    /// `http://127.0.0.1:PORT`, or the same with `https`
    pub(crate) base: String,
}

impl Appliance {
    /// The same with further files (path below the configuration's folder, text), such as fragments.
    pub(crate) fn start_with_files(
        config: &str,
        profiles: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Appliance {
        Appliance::start_all("127.0.0.1:0", config, profiles, files)
    }

    /// Starts with this `capcast.toml` and these own profiles (name, text). It listens on free ports of loopback only;
    /// the configuration must hold no address in `[http]`, and no `[sfu]`.
    pub(crate) fn start(config: &str, profiles: &[(&str, &str)]) -> Appliance {
        Appliance::start_with_media("127.0.0.1:0", config, profiles)
    }

    /// The same with media at another address: some viewers never speak from loopback.
    pub(crate) fn start_with_media(media: &str, config: &str, profiles: &[(&str, &str)]) -> Appliance {
        Appliance::start_all(media, config, profiles, &[])
    }

    /// The same with a disk of its own, so big, in the configuration's folder under `disk`; only the daemon sees it.
    pub(crate) fn start_with_disk(
        size: &str,
        config: impl Fn(&Path) -> String,
        profiles: &[(&str, &str)],
    ) -> Appliance {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let mut command = Command::new("unshare");
        let mount = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && exec \"$@\"";
        command.arg("--mount");
        // Who is root needs no users of its own, which are not to be had everywhere.
        if !nix::unistd::Uid::effective().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["sh", "-c", mount, size]).arg(&disk);
        command.arg(env!("CARGO_BIN_EXE_capcast"));
        let config = config(&disk);
        Appliance::start_in(directory, command, "127.0.0.1:0", &config, profiles, &[])
    }

    /// What it sees under this path.
    pub(crate) fn sees(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.process.id())).join(path.strip_prefix("/").unwrap())
    }

    /// Its configuration's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    fn start_all(media: &str, config: &str, profiles: &[(&str, &str)], files: &[(&str, &str)]) -> Appliance {
        let directory = tempfile::tempdir().unwrap();
        Appliance::start_in(directory, daemon(), media, config, profiles, files)
    }

    fn start_in(
        directory: TempDir,
        command: Command,
        media: &str,
        config: &str,
        profiles: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Appliance {
        let own = directory.path().join("profiles");
        fs::create_dir(&own).unwrap();
        for (name, text) in profiles {
            fs::write(own.join(format!("{name}.toml")), text).unwrap();
        }
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let config = format!("{config}\n[sfu]\nmedia = \"{media}\"\n");
        fs::write(directory.path().join("capcast.toml"), config).unwrap();
        let (process, log, base) = run(command, directory.path(), "127.0.0.1:0");
        Appliance { directory, process, log, base }
    }

    /// The state it gives, once it is as expected; fails saying what it was.
    pub(crate) fn until_state(
        &self,
        what: &str,
        limit: Duration,
        expected: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let logged = self.log.all().len();
            let state = self.state().unwrap_or_default();
            if expected(&state) {
                return state;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}; outputs: {:#}, words: {}",
                state["outputs"],
                state["words"]
            );
            // Until it says something, or a moment later.
            let _ = self.log.at(logged, Duration::from_millis(50));
        }
    }

    /// Its state over its socket, as `capcast status --json` prints it; none while it does not answer.
    fn state(&self) -> Option<Value> {
        let mut socket = UnixStream::connect(self.socket()).ok()?;
        socket.set_read_timeout(Some(START)).ok()?;
        let request = "GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).ok()?;
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        serde_json::from_slice(&answer[body..]).ok()
    }

    /// Waits until so many lines of its log hold these words: it may be written a little after what it tells of.
    pub(crate) fn until_logged(&self, count: usize, words: &str) {
        let mut found = 0;
        let told = self.log.find(START, |line| {
            found += usize::from(line.contains(words));
            (found == count).then_some(())
        });
        assert!(told.is_some(), "`{words}` is {found} times in the log, not {count}: {:#?}", self.log());
    }

    /// What the command line says about it.
    pub(crate) fn cli(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_capcast"))
            .args(arguments)
            .env("CAPCAST_SOCKET", self.directory.path().join("capcast.sock"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Ends it as `systemctl stop` does; how long that took, and its whole log.
    pub(crate) fn end(&mut self) -> (Duration, Vec<String>) {
        let began = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
        let took = began.elapsed();
        // Whoever reads its log may have some of it to read still.
        let _ = self.log.at(usize::MAX, Duration::from_secs(10));
        (took, self.log.all())
    }

    /// Where its command line finds it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("capcast.sock")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A file beside its configuration, such as a fragment of its own.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A command that is not waited for.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_capcast"))
            .args(arguments)
            .env("CAPCAST_SOCKET", self.directory.path().join("capcast.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// How many of `task` (threads) or `fd` (open files) the kernel counts.
    pub(crate) fn count(&self, what: &str) -> usize {
        fs::read_dir(format!("/proc/{}/{what}", self.process.id())).unwrap().count()
    }

    /// Memory that is its own, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Dies without a word, as in a power cut.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts again under the same address.
    pub(crate) fn start_again(&mut self) {
        let address = self.base.trim_start_matches("http://").to_owned();
        (self.process, self.log, self.base) = run(daemon(), self.directory.path(), &address);
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.log.at(usize::MAX, Duration::from_secs(10));
        let log = self.log.all();
        if std::thread::panicking() {
            eprintln!("the daemon's log ends so:\n{}", log[log.len().saturating_sub(60)..].join("\n"));
        } else {
            let errors: Vec<_> = log.iter().filter(|line| line.contains("ERROR")).collect();
            assert!(errors.is_empty(), "the daemon logged errors, which are bugs: {errors:#?}");
        }
    }
}

fn daemon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_capcast"))
}

fn run(mut command: Command, directory: &Path, listen: &str) -> (Child, Lines, String) {
    let mut process = command
        .args(["run", "--listen", listen, "--config"])
        .arg(directory.join("capcast.toml"))
        .env("CAPCAST_SOCKET", directory.join("capcast.sock"))
        .env("STATE_DIRECTORY", directory.join("state"))
        .env("CACHE_DIRECTORY", directory.join("cache"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Lines::of(process.stderr.take().unwrap());
    let base = log.find(START, |line| {
        let (before, rest) = line.split_once("://127.0.0.1:")?;
        let scheme = before.rsplit(' ').next().unwrap_or_default();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        scheme.starts_with("http").then(|| format!("{scheme}://127.0.0.1:{port}"))
    });
    let base = base.unwrap_or_else(|| {
        let _ = process.kill();
        panic!("the daemon does not say where it listens; its log:\n{}", log.all().join("\n"))
    });
    (process, log, base)
}

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

/// A file of the source tree.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where tests leave what a person may want to look at.
pub(crate) fn keepsake(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Runs a script of `setup/`, which is quick when nothing is missing; its one line of output.
pub(crate) fn setup(script: &str, arguments: &[&str]) -> String {
    let done = Command::new(source(script)).args(arguments).current_dir(source(".")).output().unwrap();
    assert!(
        done.status.success(),
        "`{script} {}` failed: {}\nhint: run `make test`, which installs what is missing",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Lines that another process writes, as they come.
#[derive(Clone)]
struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
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

    fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Line `index`, once it is there; none when the lines end before it or time runs out.
    fn at(&self, index: usize, limit: Duration) -> Option<String> {
        let written = self.0.0.lock().unwrap();
        let missing = |written: &mut Written| written.lines.len() <= index && !written.ended;
        let (written, _) = self.0.1.wait_timeout_while(written, limit, missing).unwrap();
        written.lines.get(index).cloned()
    }

    /// The first line of which `pick` makes something.
    fn find<T>(&self, limit: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        (0..).find_map(|index| {
            let line = self.at(index, deadline.saturating_duration_since(Instant::now()));
            line.map_or(Some(None), |line| pick(&line).map(Some))
        })?
    }
}
