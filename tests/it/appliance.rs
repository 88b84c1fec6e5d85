//! A real `capcast run` in a directory of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::lines::Lines;

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
            let state = state_at(&self.socket()).unwrap_or_default();
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

/// The state of the daemon at a socket, as `capcast status --json` prints it; none while it does not answer.
pub(crate) fn state_at(socket: &Path) -> Option<Value> {
    let mut socket = UnixStream::connect(socket).ok()?;
    socket.set_read_timeout(Some(START)).ok()?;
    let request = "GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}

/// A port of loopback that nobody has, for programs that cannot be asked which one they took. Systems give ports from
/// 32768 on to who wants any, so nobody takes this one in between.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    };
    std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).find(free).unwrap()
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
