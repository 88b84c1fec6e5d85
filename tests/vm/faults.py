"""What a capture card can do wrong, one thing at a time and in seeded sequences, with a viewer watching all the while."""

import asyncio
import os
import random
import time

import aiohttp

from machine import GUEST, Failure
from viewer import Viewer

WHEP = f"http://{GUEST}:8899/api/whep/live"
GROUND = (36, 128, 128)
# The goals for what viewers notice are asked of a machine that does nothing else, as in `make soak`.
QUIET = "CAPCAST_SOAK_FAULTS" in os.environ


def near(found, wanted, tolerance):
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted))


def shows_slate(seen):
    return bool(seen.bars) and all(near(bar, GROUND, 8) for bar in seen.bars)


def shows_card(seen):
    """Colour bars: some are bright, and they differ."""
    return bool(seen.bars) and max(bar[0] for bar in seen.bars) > 150 and len({bar[1] // 16 for bar in seen.bars}) > 3


class Fault:
    """`cause` breaks something, `mend` puts it right; `states` are those that may be told in between."""

    def __init__(self, name, states, cause, mend=None):
        self.name, self.states, self.cause, self.mend = name, states, cause, mend

    @property
    def lasts(self):
        return self.mend is not None


def control(*settings):
    """Sets vivid's controls, wherever the card is now."""
    words = " ".join(f"-c {setting}" for setting in settings)
    return lambda box: box.must("sh", "-c", f"v4l2-ctl -d $(ls /dev/video* | head -n 1) {words}")


def unplug(box):
    """As a pulled plug: the node goes while it is used."""
    box.must("sh", "-c", "echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    box.must("udevadm", "settle", "--timeout=30")


def plug_in(box):
    box.must("sh", "-c", "echo vivid.0 >/sys/bus/platform/drivers/vivid/bind")
    box.must("udevadm", "settle", "--timeout=30")
    BACK(box)


def load_again(box):
    """The driver can go when everybody has let go of the card; then it comes under another number."""
    status, wrote = box.run("sh", "-c", RELOAD)
    box.must("udevadm", "settle", "--timeout=30")
    if status != 0:
        print(f"  the driver is still in use, so the card is only plugged in again: {wrote}", flush=True)
        return plug_in(box)
    BACK(box)


RELOAD = """
for attempt in $(seq 10); do
  modprobe -r vivid 2>/dev/null && break
  udevadm settle --timeout=1
done
[ ! -d /sys/module/vivid ] || { ls -l /proc/[0-9]*/fd 2>/dev/null | grep /dev/video; exit 1; }
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x3 ccs_cap_mode=0 vid_cap_nr=5
"""


def card(number=-1):
    def load(box):
        options = ["n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x3", "ccs_cap_mode=0", f"vid_cap_nr={number}"]
        box.must("modprobe", "vivid", *options)
        box.must("udevadm", "settle", "--timeout=30")
        node = f"/dev/video{max(number, 0)}"
        box.must("v4l2-ctl", "-d", node, "-c", "dv_timings_signal_mode=4", "-c", "dv_timings=7")
    return load


BACK = control("dv_timings_signal_mode=4", "dv_timings=7")

FAULTS = [
    Fault("no signal", {"no_signal"}, control("dv_timings_signal_mode=1"), BACK),
    Fault("no lock", {"no_lock"}, control("dv_timings_signal_mode=2"), BACK),
    Fault("out of range", {"out_of_range"}, control("dv_timings_signal_mode=3"), BACK),
    Fault("720p60", {"format_changing", "stalled", "live"}, control("dv_timings_signal_mode=4", "dv_timings=9")),
    Fault("1080p60", {"format_changing", "stalled", "live"}, control("dv_timings_signal_mode=4", "dv_timings=16")),
    Fault("720p30", {"format_changing", "stalled", "live"}, control("dv_timings_signal_mode=4", "dv_timings=7")),
    Fault("one bad buffer", {"live", "stalled"}, control("inject_v4l2_buf_flag_error=1")),
    Fault("DQBUF EIO", {"live", "stalled", "busy"}, control("inject_fatal_streaming_error=1")),
    Fault("REQBUFS fails", {"live", "stalled", "busy"}, control("inject_vidioc_reqbufs_error=1", "inject_fatal_streaming_error=1")),
    Fault("QBUF fails", {"live", "stalled", "busy"}, control("inject_vidioc_qbuf_error=1", "inject_fatal_streaming_error=1")),
    Fault("STREAMON fails", {"live", "stalled", "busy"}, control("inject_vidioc_streamon_error=1", "inject_fatal_streaming_error=1")),
    Fault("half the buffers lost", {"live"}, control("percentage_of_dropped_buffers=50"), control("percentage_of_dropped_buffers=0")),
    Fault("unplugged", {"gone"}, unplug, plug_in),
    Fault("unplugged, back under another number", {"gone"}, unplug, load_again),
]

TOO_MUCH, SMALL = (next(fault for fault in FAULTS if fault.name == name) for name in ("1080p60", "720p30"))


class Watch:
    """A viewer and the box's own words, together."""

    def __init__(self, box, seen, session):
        self.box, self.seen, self.session = box, seen, session
        self.results = []
        self.fits = True

    async def do(self, action):
        await asyncio.to_thread(action, self.box)

    async def status(self):
        async with self.session.get(f"http://{GUEST}:8899/api/status") as answer:
            return await answer.json()

    async def ready(self):
        async with self.session.get(f"http://{GUEST}:8899/readyz") as answer:
            return answer.status, await answer.text()

    async def until_state(self, wanted, seconds, what):
        """Waits for one of these states of the source, asking at each new picture."""
        deadline = time.monotonic() + seconds
        while True:
            capture = (await self.status())["capture"]
            source, live = capture["source"], capture["showing"] == "source"
            if source["state"] in wanted and (live or "live" not in wanted):
                return source
            if time.monotonic() > deadline:
                raise Failure(f"{what}: the source is {source}, {capture['showing']} is shown, not {wanted}")
            self.seen.changed.clear()
            await asyncio.wait_for(self.seen.changed.wait(), 20)

    async def suffer(self, fault):
        """One fault from its cause to the picture's return: what was seen of it."""
        number = len(self.seen.arrivals)
        # What the guest's one CPU can scale and encode for long; past it, gaps and encoders cut off measure the guest.
        fits, self.fits = self.fits and fault is not TOO_MUCH, fault is not TOO_MUCH
        before = await self.status()
        began = time.monotonic()
        await self.do(fault.cause)
        slate = None
        if fault.lasts and "live" not in fault.states:
            source = await self.until_state(fault.states, 10, fault.name)
            if not source["reason"]:
                raise Failure(f"{fault.name}: no reason in {source}")
            await self.seen.until(shows_slate, 10, f"slate in {fault.name}")
            slate = time.monotonic() - began
            # A switch that is under way may keep the picture from being on air for a moment.
            deadline = time.monotonic() + 10
            while True:
                status, words = await self.ready()
                if status == 200 or "under way" not in words or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.1)
            # A switch plans anew, by the name in the configuration: only the device's name may differ.
            if status != 200 or source["reason"].split(" (")[0] not in words:
                raise Failure(f"{fault.name}: readyz says {status} {words!r}, not {source['reason']!r}")
        if fault.lasts:
            await self.do(fault.mend)
            began = time.monotonic()
        else:
            # Long enough for the trouble to be noticed.
            frames = len(self.seen.arrivals) + 20
            await self.seen.until(lambda seen: len(seen.arrivals) >= frames, 20, f"pictures in {fault.name}")
        await self.until_state({"live"}, 20, f"after {fault.name}")
        await self.seen.until(shows_card, 20, f"picture after {fault.name}")
        back = time.monotonic() - began
        arrivals = self.seen.arrivals[max(0, number - 1) :]
        gap = max((b - a for a, b in zip(arrivals, arrivals[1:])), default=0.0)
        times = self.seen.times[max(0, number - 1) :]
        step = max((b - a for a, b in zip(times, times[1:])), default=0.0)
        if any(b <= a for a, b in zip(times, times[1:])):
            raise Failure(f"{fault.name}: RTP time went back")
        after = await self.status()
        rebuilt, encoder = (after[graph]["restarts"] - before[graph]["restarts"] for graph in ("capture", "encode"))
        self.results.append((fault, back, gap, fits, encoder))
        words = "" if slate is None else f"slate after {slate * 1000:.0f} ms, "
        print(
            f"  {fault.name}: {words}picture after {back * 1000:.0f} ms, longest gap {gap * 1000:.0f} ms "
            f"({step * 1000:.0f} ms in RTP time), rebuilt {rebuilt} times"
            + (f", the encoder {encoder} times" if encoder else "")
            + ("" if fits else ", at more than the guest can do"),
            flush=True,
        )

    async def lost(self):
        """Packets that never came, by their sequence numbers."""
        report = await self.seen.peer.getStats()
        return sum(getattr(stat, "packetsLost", 0) for stat in report.values() if stat.type == "inbound-rtp")


def usage(box):
    """Open files, threads and KiB of memory of the daemon."""
    script = f"p=$(pidof {os.path.basename(os.environ['CAPCAST'])} | cut -d' ' -f1); ls /proc/$p/fd | wc -l; awk '/^Threads|^VmRSS/{{print $2}}' /proc/$p/status"
    files, memory, threads = map(int, box.must("sh", "-c", script).split())
    return files, threads, memory


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def watched(box, running, faults):
    """Watches while these happen, one after another."""

    async def watch():
        async with Viewer(WHEP) as seen, aiohttp.ClientSession() as session:
            await seen.until(lambda s: len(s.times) >= 60 and shows_card(s), 90, "picture before any fault")
            view = Watch(box, seen, session)
            await view.until_state({"live"}, 20, "before any fault")
            before = usage(box)
            for fault in faults:
                await view.suffer(fault)
            after = usage(box)
            opened = sum("capture runs:" in line for line in running.lines.seen)
            lost = await view.lost()
            print(f"  files, threads, KiB: {before} before, {after} after, card opened {opened} times; {lost} packets lost", flush=True)
            if lost:
                raise Failure(f"{lost} packets were lost on the way to the viewer")
            # GStreamer 1.22 keeps some descriptors of each time that it opens a card.
            if after[0] > before[0] + 16 + 9 * (opened + len(faults)) or after[1] > before[1] + 12:
                raise Failure(f"files or threads grow: {before}, then {after}")
            return view.results

    results = asyncio.run(watch())
    backs = [back for _, back, _, _, _ in results]
    # Others last until the driver is opened again, which has its own pauses.
    returns = [back for fault, back, _, fits, _ in results if fault.mend is BACK and fits]
    gaps = [gap for _, _, gap, fits, _ in results if fits]
    encoders = sum(encoder for _, _, _, fits, encoder in results if fits)
    print(
        f"  {len(results)} faults: picture back after p50 {percentile(backs, 50) * 1000:.0f} ms, "
        f"p95 {percentile(backs, 95) * 1000:.0f} ms, a signal's after {[round(back * 1000) for back in returns]} ms; "
        f"longest gap p50 {percentile(gaps, 50) * 1000:.0f} ms, p95 {percentile(gaps, 95) * 1000:.0f} ms, "
        f"most {max(gaps) * 1000:.0f} ms; the encoder was rebuilt {encoders} times",
        flush=True,
    )
    if not QUIET:
        return
    # It has no part in any of this. `modprobe` and `udevadm` can keep it from the guest's one CPU for half a second, though.
    if encoders > len(results) // 50:
        raise Failure(f"the encoder was rebuilt {encoders} times, though its output never changed")
    if percentile(gaps, 50) > 0.3 or percentile(gaps, 98) > 1.0:
        raise Failure(f"viewers saw nothing new for too long: {sorted(gaps)}")
    if returns and percentile(returns, 50) > 1.0:
        raise Failure(f"pictures came too late after their signal: {returns}")


def sequence(count, seed):
    """As many faults, each chosen by chance; the same for the same seed. After a signal that is too much comes a smaller one."""
    chance, faults = random.Random(seed), []
    while len(faults) < count:
        faults.append(SMALL if faults and faults[-1] is TOO_MUCH else chance.choice(FAULTS))
    return faults


def soak_length():
    """Faults in a sequence: 20, or what `CAPCAST_SOAK_FAULTS` says."""
    return int(os.environ.get("CAPCAST_SOAK_FAULTS", "20"))
