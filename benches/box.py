"""A running Capcast to be measured, and what the kernel says of a process."""

import os
import pathlib
import re
import selectors
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
CAPCAST = os.environ.get("CAPCAST", TOP / "target/release/capcast")
SWARM = os.environ.get("SWARM", TOP / "benches/swarm/target/release/swarm")
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of all threads of a process so far."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def thread_seconds(pid, name):
    """CPU time so far of a process's thread of this name."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    sys.exit(f"process {pid} has no thread `{name}`")


def rss_mib(pid):
    """Resident memory of a process now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


class Box:
    """`with Box("--demo") as box:`: starts `capcast run`, and returns once it says under which URL it is on air."""

    def __init__(self, *arguments, config=None, profiles=None):
        self.arguments = list(arguments)
        self.config = config
        self.profiles = profiles or {}

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="capcast-bench.")
        arguments = [str(CAPCAST), "run", "--listen", "127.0.0.1:0", "--set", 'sfu.media="127.0.0.1:0"']
        if self.config is not None:
            path = pathlib.Path(self.folder.name, "capcast.toml")
            path.write_text(self.config)
            arguments += ["--config", str(path)]
            for name, text in self.profiles.items():
                profile = path.parent / "profiles" / f"{name}.toml"
                profile.parent.mkdir(exist_ok=True)
                profile.write_text(text)
        self.cli = str(CAPCAST)
        self.environment = {**os.environ, "CAPCAST_SOCKET": f"{self.folder.name}/capcast.sock", "NO_COLOR": "1"}
        started = time.monotonic()
        self.process = subprocess.Popen(
            arguments + self.arguments,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        try:
            self.url = self._url(started + 30)
        except BaseException:
            self.__exit__()
            raise
        self.start_seconds = time.monotonic() - started
        self.pid = self.process.pid
        return self

    def _url(self, deadline):
        wrote = ""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and self.process.poll() is None:
            if selector.select(max(0.0, deadline - time.monotonic())):
                wrote += (self.process.stdout.read() or b"").decode(errors="replace")
                if found := re.search(r"Watch: +(http://[^/\s]+)", wrote):
                    return found[1]
        sys.exit(f"`capcast run` did not go on air; it wrote:\n{wrote}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.folder.cleanup()


class Live777:
    """`with Live777(path) as peer:`: a peer of the SFU as it comes; `peer.url` and `peer.pid`."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="capcast-bench.")
        place = "127.0.0.1:17777"
        config = pathlib.Path(self.folder.name, "live777.toml")
        config.write_text(f'ice_servers = []\n[http]\nlisten = "{place}"\n[webrtc]\nice_udp_addrs = ["127.0.0.1:0"]\n')
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([self.path, "-c", config], cwd=self.folder.name, **quiet)
        self.url, self.pid = f"http://{place}", self.process.pid
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{self.url}/", timeout=1)
            except urllib.error.HTTPError:
                return self
            except OSError:
                time.sleep(0.1)
            else:
                return self
        self.__exit__()
        sys.exit(f"`{self.path}` does not listen at {place}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def interval(values):
    """Bounds that hold the true median with at least 95 %, whatever the distribution: two order statistics."""
    from math import comb

    values = sorted(values)
    count = len(values)
    outside, rank = 0.0, 0
    while rank < count // 2 and 2 * (outside + comb(count, rank) / 2**count) <= 0.05:
        outside += comb(count, rank) / 2**count
        rank += 1
    rank = max(rank - 1, 0)
    return values[rank], values[count - 1 - rank]


def row(what, value, goal=""):
    """One line of the table."""
    print(f"| {what} | {value} | {goal} |", flush=True)
