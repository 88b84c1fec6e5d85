//! What the daemon tells systemd, heard on a socket as systemd's own (sd_notify(3)); and what packages take from the binary.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CAPCAST: &str = env!("CARGO_BIN_EXE_capcast");
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon, with someone in systemd's place.
struct Supervised {
    child: Child,
    ear: UnixDatagram,
    heard: Vec<String>,
    _folder: TempDir,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Supervised {
    fn start(watchdog: Duration) -> Supervised {
        let folder = tempfile::tempdir().unwrap();
        let ear = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(CAPCAST)
            .args(["run", "--demo", "--listen", "127.0.0.1:0"])
            .env("CAPCAST_SOCKET", folder.path().join("capcast.sock"))
            .env("STATE_DIRECTORY", folder.path().join("state"))
            .env("CACHE_DIRECTORY", folder.path().join("cache"))
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Supervised { child, ear, heard: Vec::new(), _folder: folder }
    }

    /// Listens until a message says `wanted`; gives its lines.
    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut room = [0; 4096];
        loop {
            assert!(Instant::now() < deadline, "heard {:#?}", self.heard);
            let length = match self.ear.recv(&mut room) {
                Ok(length) => length,
                Err(error) => panic!("{error}; heard {:#?}", self.heard),
            };
            let message = String::from_utf8_lossy(&room[..length]).into_owned();
            let lines: Vec<String> = message.lines().map(str::to_owned).collect();
            self.heard.push(message);
            if lines.iter().any(|line| wanted(line)) {
                return lines;
            }
        }
    }
}

#[test]
fn it_says_when_it_is_ready_how_it_fares_that_it_lives_and_when_it_ends() {
    let mut daemon = Supervised::start(Duration::from_secs(2));
    let ready = daemon.until(|line| line == "READY=1");
    assert_eq!(daemon.heard.len(), 1, "nothing is said before that: {:#?}", daemon.heard);
    assert!(ready.iter().any(|line| line.starts_with("STATUS=")), "{ready:?}");
    daemon.until(|line| line.starts_with("STATUS=on air: 0 viewers, H.264"));
    daemon.until(|line| line == "WATCHDOG=1");
    daemon.until(|line| line == "WATCHDOG=1");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let last = daemon.until(|line| line == "STOPPING=1");
    assert!(last.contains(&"STATUS=shutting down: told to terminate".to_owned()), "{last:?}");
    assert!(daemon.child.wait().unwrap().success());
}

fn capcast(arguments: &[&str]) -> String {
    let done = Command::new(CAPCAST).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Subcommands that `capcast --help` shows.
fn subcommands() -> Vec<String> {
    let help = capcast(&["--help"]);
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let first = |line: &str| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    let names = listed.filter_map(first).filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

#[test]
fn completions_know_every_subcommand_and_the_shell_can_read_them() {
    let names = subcommands();
    assert!(names.len() > 15 && names.contains(&"switch".to_owned()), "{names:?}");
    for shell in ["bash", "zsh", "fish"] {
        let text = capcast(&["completions", shell]);
        for name in &names {
            assert!(text.contains(name.as_str()), "{shell} does not know `{name}`");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("capcast");
    std::fs::write(&script, capcast(&["completions", "bash"])).unwrap();
    let asked = format!(
        "set -e; source {}; COMP_WORDS=(capcast swi); COMP_CWORD=1; _capcast capcast swi capcast; echo ${{COMPREPLY[*]}}",
        script.display()
    );
    let completed = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "switch", "{completed:?}");
}

#[test]
fn there_is_a_manual_page_for_every_subcommand_and_for_no_hidden_one() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/for/it");
    capcast(&["man", pages.to_str().unwrap()]);
    let mut found: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut expected: Vec<String> = subcommands().iter().map(|name| format!("capcast-{name}.1")).collect();
    expected.push("capcast.1".to_owned());
    expected.sort();
    assert_eq!(found, expected);
    let switch = std::fs::read_to_string(pages.join("capcast-switch.1")).unwrap();
    assert!(switch.contains(".SH SYNOPSIS") && switch.contains("PROFILE"), "{switch}");
}
