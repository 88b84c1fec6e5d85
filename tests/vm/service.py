"""The package on a box: installed before its first boot, then booted, watched, frozen, unplugged, upgraded and removed.

The tests run in this order, on one box; each leaves the service running.
"""

import asyncio
import json
import re
import sys
import time
import traceback
import urllib.error
import urllib.request

from machine import GUEST, HERE, Failure, Machine
from viewer import Viewer

SITE = f"http://{GUEST}:8899"
WHEP = f"{SITE}/api/whep/live"
CONFIG = "/etc/capcast/capcast.toml"
# Small enough for the guest's one processor.
PROFILE = """
summary = "small, for one slow CPU"
[video]
codec = "h264"
encoder = "x264"
size = "320x180"
framerate = "15"
bitrate = "500 kbit/s"
keyframe_interval = "2 s"
speed = "fastest"
[audio]
codec = "opus"
bitrate = "64 kbit/s"
"""


def check(condition, what):
    if not condition:
        raise Failure(what)


def show(box, *names, unit="capcast.service"):
    """Properties of the unit, as systemd has them."""
    lines = box.must("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    return found[names[0]] if len(names) == 1 else found


def until(box, what, wanted, *names, seconds=60, unit="capcast.service"):
    """Waits until the unit's properties are as wanted; the guest's systemd is asked, and the journal shown if it is in vain."""
    deadline = time.monotonic() + seconds
    while not wanted(found := show(box, *names, unit=unit)):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: {found} after {seconds} s\n{journal(box)}")
    return found


def journal(box, lines=40):
    return box.must("journalctl", "-u", "capcast", "-n", str(lines), "--no-pager", "-o", "short-monotonic")


def until_on_air(box, seconds=90):
    return until(box, "not on air", lambda words: words.startswith("on air"), "StatusText", seconds=seconds)


def asked(path, method="GET", token=None, body=None):
    """Status and body of a request from the host's side, which is another machine to the guest."""
    request = urllib.request.Request(f"{SITE}{path}", method=method, data=body)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def watch(pictures=30, seconds=90):
    """Watches from the host until so many pictures came."""

    async def watching():
        async with Viewer(WHEP, seconds) as seen:
            await seen.until(lambda s: len(s.times) >= pictures, seconds, f"{pictures} pictures")
            return str(seen)

    return asyncio.run(watching())


def it_is_live_after_the_boot_by_itself(box):
    until(box, "did not start", lambda state: state == "active", "ActiveState")
    until_on_air(box)
    found = show(box, "NRestarts", "UnitFileState", "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    check((found["NRestarts"], found["UnitFileState"]) == ("0", "enabled"), f"{found}\n{journal(box)}")
    ready = (int(found["ActiveEnterTimestampMonotonic"]) - int(found["ExecMainStartTimestampMonotonic"])) / 1e6
    state = json.loads(asked("/api/status")[1])
    check("video0" in state["capture"]["source"]["name"], f"not the card: {state['capture']}")
    print(f"  ready after {ready:.2f} s: {show(box, 'StatusText')}; {watch()}")


def it_is_shut_in(box):
    text = box.must("systemd-analyze", "security", "capcast.service", "--no-pager")
    exposure = float(re.search(r"exposure level for capcast.service: ([\d.]+)", text).group(1))
    check(exposure <= 2.0, text)
    pid = show(box, "MainPID")
    status = dict(line.split(":\t", 1) for line in box.must("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
    uid = box.must("id", "-u", "capcast").strip()
    check(uid != "0" and status["Uid"].split() == [uid] * 4, f"runs as {status['Uid']}, not as {uid}")
    check((status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2"), f"{status}")
    print(f"  exposure {exposure}")


def the_token_is_needed_from_elsewhere_and_only_there(box):
    found = box.must("stat", "-c", "%a %U %G", "/etc/capcast/control.token").strip()
    check(found == "600 capcast capcast", found)
    token = box.must("cat", "/etc/capcast/control.token").strip()
    check(len(token) >= 32, "a short token")
    status, body = asked("/api/control/keyframe", "POST", body=b"{}")
    check(status in (401, 403), f"{status} {body} without a token")
    status, body = asked("/api/control/keyframe", "POST", token=token, body=b"{}")
    # 409: on a machine this slow it may be off air for a moment.
    check(status in (200, 409), f"{status} {body} with it")
    box.must("capcast", "status")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    status, wrote = box.run(*nobody, "capcast", "status")
    check(status == 3, f"{status}: not root and not of the group, and let in: {wrote}")
    member = ("setpriv", "--reuid=65534", "--regid=65534", "--groups", box.must("getent", "group", "capcast").split(":")[2])
    box.must(*member, "capcast", "status")
    check(token not in box.must("journalctl", "--no-pager"), "the token is in the journal")


def a_port_has_a_name_of_its_own(box):
    name = "/dev/capcast/video0-platform-vivid.0"
    check(box.must("readlink", "-f", name).strip() == "/dev/video0", name)
    [card] = json.loads(box.must("capcast", "devices", "--json"))["video"]
    check(name in card["links"], card["links"])


def a_reload_takes_what_is_right_and_refuses_what_is_wrong(box):
    pid = show(box, "MainPID")
    before = box.must("cat", CONFIG)
    box.write("/etc/capcast/profiles/vm.toml", PROFILE)
    box.write(CONFIG, before.replace('# profile = "auto"', 'profile = "mv"'))
    status, wrote = box.run("systemctl", "reload", "capcast", seconds=120)
    check(status != 0, f"a profile that is not there was taken: {wrote}")
    check("mv" in journal(box), f"nobody says why:\n{journal(box)}")
    check(show(box, "StatusText").startswith("on air"), show(box, "StatusText"))
    box.write(CONFIG, before.replace('# profile = "auto"', 'profile = "vm"'))
    box.must("systemctl", "reload", "capcast", seconds=120)
    until(box, "not at the new profile", lambda words: "320x180" in words, "StatusText")
    check(show(box, "MainPID") == pid, "it was started anew")


def the_watchdog_ends_a_frozen_daemon_and_the_stream_is_back(box):
    pid = show(box, "MainPID")

    async def freeze():
        async with Viewer(WHEP) as seen:
            await seen.until(lambda s: len(s.times) >= 30, 60, "picture")
            start = time.monotonic()
            await asyncio.to_thread(box.must, "kill", "-STOP", pid)
            await asyncio.to_thread(
                until, box, "the watchdog did not bite", lambda found: found not in (pid, "0"), "MainPID"
            )
            took = time.monotonic() - start
            # The viewer's farewell wants somebody who listens.
            await asyncio.to_thread(until_on_air, box)
            return took

    took = asyncio.run(freeze())
    check(show(box, "NRestarts") == "1", journal(box))
    check("atchdog" in journal(box), journal(box))
    print(f"  another daemon {took:.1f} s after the freeze; {watch()}")


def one_that_crashes_is_started_anew(box):
    pid = show(box, "MainPID")
    box.must("kill", "-ABRT", pid)
    until(box, "not started anew", lambda found: found not in (pid, "0"), "MainPID")
    until_on_air(box)


def plugging_a_card_in_starts_what_is_enabled(box):
    box.must("systemctl", "stop", "capcast")
    for enabled in (False, True):
        box.must("systemctl", "enable" if enabled else "disable", "capcast")
        box.must("modprobe", "-r", "vivid")
        until(box, "the target stands", lambda state: state == "inactive", "ActiveState", unit="capcast-card.target")
        box.must("modprobe", "vivid")
        until(box, "the target does not stand", lambda state: state == "active", "ActiveState", unit="capcast-card.target")
        state = show(box, "ActiveState")
        check((state != "inactive") == enabled, f"enabled: {enabled}, and it is {state}")
    until_on_air(box)


def an_upgrade_keeps_what_was_edited_and_asks_nothing(box):
    box.must("sh", "-c", f"echo '# mine' >>{CONFIG}")
    before = box.must("sh", "-c", f"cat {CONFIG}; cat /etc/capcast/control.token /etc/capcast/profiles/vm.toml")
    pid = show(box, "MainPID")
    wrote = box.must("dpkg", "-i", box.second, seconds=300)
    check("control.token" not in wrote, f"told again how to read the token:\n{wrote}")
    after = box.must("sh", "-c", f"cat {CONFIG}; cat /etc/capcast/control.token /etc/capcast/profiles/vm.toml")
    check(before == after, f"changed:\n{after}")
    check(box.must("dpkg-query", "-W", "-f=${Version} ${db:Status-Status}", "capcast") == "0.0.2 installed", wrote)
    check(show(box, "MainPID") not in (pid, "0"), "the old binary runs on")
    until_on_air(box)


def removed_it_stops_and_purged_it_leaves_nothing(box):
    box.must("sh", "-c", f"echo '# kept' >>{CONFIG}")
    box.must("dpkg", "-r", "capcast", seconds=300)
    check(box.run("systemctl", "is-active", "capcast")[0] != 0, "it still runs")
    check("# kept" in box.must("cat", CONFIG), "removing took the configuration")
    box.must("dpkg", "-i", box.second, seconds=300)
    until_on_air(box)
    check("# kept" in box.must("cat", CONFIG), "installing again took the configuration")
    box.must("dpkg", "-P", "capcast", seconds=300)
    box.must("udevadm", "settle", "--timeout=30")
    # What the package holds goes with it; these are the places where it, its scripts and its daemon leave things.
    places = ["/etc", "/run", "/dev", "/usr/lib", "/usr/share/doc", "/var/lib", "/var/cache", "/var/log"]
    find = ["find", *places, "-xdev", "-maxdepth", "4", "-name", "*capcast*", "-not", "-name", "*capcast-vm*"]
    left = box.run(*find, seconds=300)[1]
    check(left.strip() == "", f"left behind:\n{left}")
    check(box.run("getent", "passwd", "capcast")[0] == 2, "the user is left")
    check("capcast" not in box.must("systemctl", "list-unit-files", "--no-pager").replace("capcast-vm", ""), "a unit is left")


TESTS = [
    it_is_live_after_the_boot_by_itself,
    a_reload_takes_what_is_right_and_refuses_what_is_wrong,
    it_is_shut_in,
    the_token_is_needed_from_elsewhere_and_only_there,
    a_port_has_a_name_of_its_own,
    the_watchdog_ends_a_frozen_daemon_and_the_stream_is_back,
    one_that_crashes_is_started_anew,
    plugging_a_card_in_starts_what_is_enabled,
    an_upgrade_keeps_what_was_edited_and_asks_nothing,
    removed_it_stops_and_purged_it_leaves_nothing,
]


def main():
    kernel, first, second, *wanted = sys.argv[1:]
    chosen = [test for test in TESTS if not wanted or any(re.search(word, test.__name__) for word in wanted)]
    failed = []
    start = time.monotonic()
    with Machine(kernel, "guest-systemd", [f"capcast.package={first}", f"capcast.agent_home={HERE}"]) as box:
        box.second = second
        print(f"the guest is up after {time.monotonic() - start:.1f} s", flush=True)
        for test in chosen:
            start = time.monotonic()
            try:
                test(box)
                word = "ok"
            except Exception:
                failed.append(test.__name__)
                traceback.print_exc(file=sys.stdout)
                print("the guest's console:", *box.console.seen[-10:], sep="\n  ")
                word = "FAILED"
            print(f"vm {test.__name__} ... {word} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed) or not chosen)


main()
