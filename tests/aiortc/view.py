"""A WHEP viewer by aiortc: a WebRTC implementation that shares no code with Capcast or Chromium.

    python view.py ENDPOINT --frames N --limit SECONDS

Waits until the stream is live, decodes N pictures and a second of sound, leaves by DELETE, and prints one JSON object:
what was decoded, or {"error": …}.
"""

import argparse
import asyncio
import json
import sys
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


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


async def offer_until_live(session, endpoint, sdp):
    """The answer and the session's URL; a stream that is not live yet is asked for again."""
    while True:
        headers = {"Content-Type": "application/sdp"}
        async with session.post(endpoint, data=sdp, headers=headers) as response:
            body = await response.text()
            if response.status == 201:
                return body, urljoin(endpoint, response.headers["Location"])
            if response.status not in (409, 503):
                raise RuntimeError(f"the server answered {response.status}: {body}")
            await asyncio.sleep(min(2.0, float(response.headers.get("Retry-After", "1"))))


async def view(endpoint, frames):
    peer = RTCPeerConnection()
    seen = Seen(frames)
    tasks = []

    async def read(track, take):
        while True:
            try:
                take(await track.recv())
            except MediaStreamError:
                return

    @peer.on("track")
    def on_track(track):
        tasks.append(asyncio.ensure_future(read(track, seen.picture if track.kind == "video" else seen.sound)))

    peer.addTransceiver("video", direction="recvonly")
    peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession() as session:
        answer, resource = await offer_until_live(session, endpoint, peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        try:
            await seen.enough.wait()
        finally:
            codecs = [line.split()[1].split("/")[0] for line in answer.splitlines() if line.startswith("a=rtpmap:")]
            found = {
                "codecs": codecs,
                "frames": seen.video,
                "size": seen.size,
                "contrast": seen.contrast,
                "audio_frames": seen.audio,
                "audio_rate": seen.rate,
                "audio_peak": seen.peak,
                "connection": peer.connectionState,
            }
            lost = 0
            for stat in (await peer.getStats()).values():
                if stat.type == "inbound-rtp":
                    lost += stat.packetsLost
            found["lost"] = lost
            view.found = found
            async with session.delete(resource) as response:
                found["deleted"] = response.status
    await peer.close()
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("endpoint")
    arguments.add_argument("--frames", type=int, default=60)
    arguments.add_argument("--limit", type=float, default=60)
    given = arguments.parse_args()
    try:
        found = asyncio.run(asyncio.wait_for(view(given.endpoint, given.frames), given.limit))
    except asyncio.TimeoutError:
        found = {"error": f"not enough was decoded within {given.limit:.0f} s: {getattr(view, 'found', None)}"}
    except Exception as error:  # whatever it was, the test must read it
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), flush=True)
    sys.exit("error" in found)


if __name__ == "__main__":
    main()
