"""The virtual box: boots it, runs commands in it. Wants a network namespace of its own with CAP_NET_ADMIN."""

import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
HOST, GUEST = "10.89.0.1", "10.89.0.2"
AGENT_PORT = 7


class Failure(Exception):
    """What was expected did not happen; the message says what did."""


class Lines:
    """Lines from a thread, to be waited for with a deadline. Keeps all it has seen."""

    def __init__(self):
        self.seen = []
        self.waiting = queue.Queue()

    def put(self, line):
        self.seen.append(line)
        self.waiting.put(line)

    def wait_for(self, wanted, seconds, what):
        """The first line not yet looked at that `wanted` accepts."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Failure(f"no {what} within {seconds} s; seen:\n" + "\n".join(map(str, self.seen[-40:]))) from None
            if line is None:
                raise Failure(f"ended before {what}; seen:\n" + "\n".join(map(str, self.seen[-40:])))
            if wanted(line):
                return line


class Command:
    """A command running in the guest. Leaving the `with` block ends it."""

    def __init__(self, argv, text):
        self.lines = Lines()
        self.status = None
        self.socket = socket.create_connection((GUEST, AGENT_PORT), timeout=20)
        self.socket.settimeout(None)
        self.socket.sendall(b"$" + json.dumps({"argv": argv, "input": text}).encode() + b"\n")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.socket.makefile() as replies:
            for reply in replies:
                message = json.loads(reply)
                if "exit" in message:
                    self.status = message["exit"]
                else:
                    self.lines.put(next(iter(message.values())))
        self.lines.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.reader.join(20)
        self.socket.close()

    def finish(self, seconds):
        """Waits for its end: exit status and everything it wrote."""
        self.reader.join(seconds)
        text = "\n".join(line for line in self.lines.seen if line is not None)
        if self.reader.is_alive() or self.status is None:
            raise Failure(f"not finished after {seconds} s; wrote:\n{text}")
        return self.status, text


class Machine:
    """Boots on entry, is powered off on exit. `guest` is the script that goes on where init ends, `words` are for it."""

    def __init__(self, kernel, guest="guest", words=()):
        self.kernel = pathlib.Path(kernel)
        self.guest = guest
        self.words = list(words)
        self.process = None
        self.console = Lines()

    def __enter__(self):
        for step in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "tuntap", "add", "capcast0", "mode", "tap"],
            ["ip", "addr", "add", f"{HOST}/30", "dev", "capcast0"],
            ["ip", "link", "set", "capcast0", "up"],
        ):
            subprocess.run(step, check=True)
        self.folder = tempfile.TemporaryDirectory(prefix="capcast-vm.")
        memory_folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else self.folder.name
        # Its processes take turns thousands of times a second: from one processor to another each turn costs tenfold.
        one = max(os.sched_getaffinity(0))
        self.process = subprocess.Popen(
            [
                "taskset",
                "--cpu-list",
                str(one),
                str(self.kernel / "linux"),
                "mem=2048M",
                f"initrd={self.kernel / 'initrd.gz'}",
                "root=/dev/ram0",
                "vec0:transport=tap,ifname=capcast0,depth=64,gro=1",
                f"uml_dir={self.folder.name}",
                "con=null",
                "con0=null,fd:1",
                "ssl=null",
                "panic=-1",
                "quiet",
                f"capcast.tree={self.kernel / 'tree'}",
                f"capcast.guest={HERE / self.guest}",
                f"capcast.python={sys.executable}",
                f"capcast.ip={GUEST}/30",
                f"capcast.gateway={HOST}",
                *self.words,
            ],
            env={**os.environ, "TMPDIR": memory_folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A user-mode kernel is many host processes; in a session of its own they can be ended together.
            start_new_session=True,
        )
        threading.Thread(target=self._read_console, daemon=True).start()
        try:
            self.console.wait_for(lambda line: "guest ready" in line, 120, "boot of the guest")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _read_console(self):
        for line in self.process.stdout:
            self.console.put(line.decode(errors="replace").rstrip())
        self.console.put(None)

    def __exit__(self, *_):
        try:
            with socket.create_connection((GUEST, AGENT_PORT), timeout=5) as off:
                off.sendall(b"!")
            self.process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        subprocess.run(["ip", "link", "del", "capcast0"], check=False)
        self.folder.cleanup()

    def start(self, *argv, text=""):
        """Starts a command and leaves it running."""
        return Command([str(word) for word in argv], text)

    def run(self, *argv, text="", seconds=60):
        """Runs a command to its end: exit status, and stdout with stderr."""
        with self.start(*argv, text=text) as command:
            return command.finish(seconds)

    def must(self, *argv, text="", seconds=60):
        """Runs a command that has to succeed: what it wrote."""
        status, wrote = self.run(*argv, text=text, seconds=seconds)
        if status != 0:
            raise Failure(f"`{' '.join(map(str, argv))}` gave {status}:\n{wrote}")
        return wrote

    def write(self, path, content):
        self.must("sh", "-c", 'mkdir -p "$(dirname "$0")" && cat >"$0"', path, text=content)
