"""A WHEP viewer that tells how far sound and picture are apart, by their RTP times and the sender reports.

    python sync.py ENDPOINT

The test source flashes and beeps at once, with each full second, and writes into each picture when that was captured. For
each beep one JSON object is printed: by how many milliseconds the sound is later than the picture (`skew_ms`; negative where it
is earlier), how much later the flash was seen than the beep was heard (`flash_ms`: up to one picture's time more than that),
and how much later than a full second of the sender's wall clock the beep was (`beep_ms`). What counts are media times: neither the network nor the machine that watches changes them. Leaves by DELETE when
its input ends.
"""

import argparse
import asyncio
import json
import sys

from aiortc import RTCRtpReceiver, rtcrtpreceiver
from aiortc.rtp import RtcpSrPacket

from age import number
from session import Session

RATES = {"video": 90_000, "audio": 48_000}
# Rises of what is heard above what was heard in the tenth of a second before: the beep is louder and higher than the tone.
RISE = 6


class Reports:
    """Where RTP times lie on the sender's wall clock, in seconds."""

    def __init__(self):
        self.newest = {}

    def take(self, kind, packet):
        ntp = packet.sender_info.ntp_timestamp / 2**32
        self.newest[kind] = (ntp, packet.sender_info.rtp_timestamp)

    def at(self, kind, rtp):
        if kind not in self.newest:
            return None
        ntp, then = self.newest[kind]
        return ntp + ((rtp - then + 2**31) % 2**32 - 2**31) / RATES[kind]


def listen(reports):
    """Has aiortc tell sender reports, and RTP times as they are."""
    taken = RTCRtpReceiver._handle_rtcp_packet

    async def take(self, packet):
        if isinstance(packet, RtcpSrPacket):
            reports.take(self.track.kind, packet)
        await taken(self, packet)

    RTCRtpReceiver._handle_rtcp_packet = take
    rtcrtpreceiver.TimestampMapper.map = lambda self, rtp: rtp


def apart(a, b):
    """Seconds from b to a, within half a second: both are of one full second."""
    return (a - b + 0.5) % 1 - 0.5


class Onsets:
    """Finds the sample with which a beep begins."""

    def __init__(self):
        self.before = (0, 0)
        self.level = None
        self.quiet = 0

    def find(self, samples, rate):
        """Indices of beginnings in these samples; each millisecond is looked at by itself."""
        found = []
        step = rate // 1000
        for begin in range(0, len(samples) - step + 1, step):
            power = 0
            for sample in samples[begin : begin + step]:
                # Twice the difference: what is low weighs little.
                bent = sample - 2 * self.before[0] + self.before[1]
                self.before = (sample, self.before[0])
                power += bent * bent
            level = (power / step) ** 0.5
            if self.level is not None and level > RISE * max(self.level, 20) and self.quiet > 100:
                found.append(begin)
                self.quiet = 0
            elif self.level is None or level < RISE * max(self.level, 20):
                self.level = level if self.level is None else 0.95 * self.level + 0.05 * level
                self.quiet += 1
            else:
                self.quiet = 0
        return found


class Sync:
    def __init__(self, reports):
        self.reports = reports
        self.onsets = Onsets()
        self.pictures = []  # how far capture times lie from the sender's clock, of the newest pictures
        self.flash = None  # when the newest one began
        self.bright = None

    def picture(self, frame):
        at = self.reports.at("video", frame.pts)
        if at is None:
            return
        plane = frame.planes[0]
        captured = number(plane, frame.width, 2) / 1000
        self.pictures = self.pictures[-29:] + [(at - captured) % 1]
        luma, line = memoryview(plane), plane.line_size
        bright = luma[frame.width // 16 * line + frame.width * 15 // 16] > 80
        if bright and self.bright is False:
            self.flash = at
        self.bright = bright

    def sound(self, frame):
        at = self.reports.at("audio", frame.pts)
        channels = len(frame.layout.channels)
        # The plane is longer than what is in it.
        samples = memoryview(bytes(frame.planes[0])).cast("h")[: frame.samples * channels : channels]
        for index in self.onsets.find(samples, frame.sample_rate):
            if at is None or not self.pictures or self.flash is None:
                continue
            beep = at + index / frame.sample_rate
            first = self.pictures[0]
            offset = first + sorted(apart(one, first) for one in self.pictures)[len(self.pictures) // 2]
            print(
                json.dumps(
                    {
                        "skew_ms": round(apart(beep, offset) * 1000, 1),
                        "flash_ms": round(apart(self.flash, beep) * 1000, 1),
                        "beep_ms": round(apart(beep, 0) * 1000, 1),
                        "pictures": len(self.pictures),
                    }
                ),
                flush=True,
            )


async def view(endpoint):
    reports = Reports()
    listen(reports)
    sync = Sync(reports)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with Session(endpoint, sync.picture, sync.sound):
        await ended


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("endpoint")
    given = arguments.parse_args()
    try:
        asyncio.run(view(given.endpoint))
    except Exception as error:  # whatever it was, the test must read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
