"""A WHEP viewer by aiortc: a WebRTC implementation that shares no code with Capcast or Chromium.

    python view.py ENDPOINT --frames N --limit SECONDS [--bearer STREAM] [--layer NAME]

Waits until the stream is live, decodes N pictures and a second of sound, leaves by DELETE, and prints one JSON object:
what was decoded, or {"error": …}. With `--layer` it does as players of Broadcast Box do: it follows the session's events,
tells the `layers` that they name, chooses one (`chosen`, with the answer's status), and counts pictures from then on.
"""

import argparse
import asyncio
import json
import re
import sys
from urllib.parse import urljoin

from session import Session


class Seen:
    """What has been decoded so far."""

    def __init__(self, frames):
        self.wanted = frames
        self.video = 0
        self.size = None
        self.contrast = 0
        self.audio = 0
        self.peak = 0
        self.rate = None
        self.enough = asyncio.Event()

    def picture(self, frame):
        self.video += 1
        self.size = [frame.width, frame.height]
        plane = frame.planes[0]
        luma, line = bytes(plane), plane.line_size
        # Lines of the middle, without their padding; the stamp at the top would give contrast to any picture.
        middle = b"".join(luma[y * line : y * line + frame.width] for y in range(frame.height // 4, frame.height, 8))
        self.contrast = max(self.contrast, max(middle) - min(middle))
        self.check()

    def sound(self, frame):
        self.audio += 1
        self.rate = frame.sample_rate
        samples = memoryview(bytes(frame.planes[0])).cast("h")
        self.peak = max(self.peak, max(abs(sample) for sample in samples))
        self.check()

    def check(self):
        if self.video >= self.wanted and self.audio >= 50 and self.peak > 0:
            self.enough.set()


async def choose(session, layer):
    """Reads the session's events until they name layers, and chooses one."""
    links = {}
    for link in session.links:
        if match := re.fullmatch(r'<([^>]*)>; rel="urn:ietf:params:whep:ext:core:([a-z-]+)".*', link):
            links[match[2]] = urljoin(session.endpoint, match[1])
    async with session.http.get(links["server-sent-events"]) as events:
        name = None
        async for line in events.content:
            line = line.decode().rstrip()
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "layers":
                layers = json.loads(line.removeprefix("data: "))
                if any(one["encodingId"] == layer for one in layers["1"]["layers"]):
                    break
    print(json.dumps({"layers": layers}), flush=True)
    choice = {"mediaId": "1", "encodingId": layer}
    async with session.http.post(links["layer"], json=choice) as response:
        print(json.dumps({"chosen": response.status}), flush=True)


async def view(endpoint, frames, bearer=None, layer=None):
    seen = Seen(frames)
    async with Session(endpoint, seen.picture, seen.sound, bearer) as session:
        try:
            if layer is not None:
                await choose(session, layer)
                seen.video = 0
                seen.enough.clear()
            await seen.enough.wait()
        finally:
            lines = session.answer.splitlines()
            codecs = [line.split()[1].split("/")[0] for line in lines if line.startswith("a=rtpmap:")]
            stats = (await session.peer.getStats()).values()
            view.found = {
                "codecs": codecs,
                "frames": seen.video,
                "size": seen.size,
                "contrast": seen.contrast,
                "audio_frames": seen.audio,
                "audio_rate": seen.rate,
                "audio_peak": seen.peak,
                "connection": session.peer.connectionState,
                "lost": sum(stat.packetsLost for stat in stats if stat.type == "inbound-rtp"),
            }
    return {**view.found, "deleted": session.deleted}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("endpoint")
    arguments.add_argument("--frames", type=int, default=60)
    arguments.add_argument("--limit", type=float, default=60)
    arguments.add_argument("--bearer")
    arguments.add_argument("--layer")
    given = arguments.parse_args()
    try:
        viewing = view(given.endpoint, given.frames, given.bearer, given.layer)
        found = asyncio.run(asyncio.wait_for(viewing, given.limit))
    except asyncio.TimeoutError:
        found = {"error": f"not enough was decoded within {given.limit:.0f} s: {getattr(view, 'found', None)}"}
    except Exception as error:  # whatever it was, the test must read it
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), flush=True)
    sys.exit("error" in found)


if __name__ == "__main__":
    main()
