"""A WHIP publisher by aiortc: a moving picture and a tone, encoded by aiortc, until its input ends.

    python publish.py ENDPOINT --bearer KEY [--codec VP8|H264] [--size 640x360]

Prints one JSON object a line: `answered`, then `connection` as it changes, and `deleted` with the DELETE's status.
"""

import argparse
import asyncio
import fractions
import json
import math
import struct
import sys
from urllib.parse import urljoin

import aiohttp
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from av import AudioFrame, VideoFrame

RATE = 48000
SAMPLES = 960


def say(**fact):
    print(json.dumps(fact), flush=True)


class Picture(VideoStreamTrack):
    """A bright bar that wanders over grey."""

    def __init__(self, width, height):
        super().__init__()
        self.width = width
        self.height = height
        self.turn = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(self.width, self.height, "yuv420p")
        self.turn += 8
        left = self.turn % (self.width - 64)
        line = b"\x50" * left + b"\xd0" * 64 + b"\x50" * (self.width - 64 - left)
        luma, *chroma = frame.planes
        luma.update(b"".join(line.ljust(luma.line_size, b"\x00") for _ in range(self.height)))
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """440 Hz at a quarter of the full scale; the silence that it is made of keeps the pace."""

    def __init__(self):
        super().__init__()
        self.at = 0

    async def recv(self):
        silence = await super().recv()
        samples = silence.samples * RATE // silence.sample_rate
        wave = [int(8000 * math.sin(2 * math.pi * 440 * (self.at + n) / RATE)) for n in range(samples)]
        frame = AudioFrame(format="s16", layout="mono", samples=samples)
        frame.planes[0].update(struct.pack(f"<{samples}h", *wave))
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE, fractions.Fraction(1, RATE)
        self.at += samples
        return frame


async def publish(endpoint, bearer, codec, size):
    peer = RTCPeerConnection()
    width, height = map(int, size.split("x"))
    video = peer.addTransceiver(Picture(width, height), direction="sendonly")
    wanted = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType == f"video/{codec}"]
    video.setCodecPreferences(wanted)
    peer.addTransceiver(Tone(), direction="sendonly")
    peer.on("connectionstatechange", lambda: say(connection=peer.connectionState))
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {bearer}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        headers = {"Content-Type": "application/sdp"}
        async with session.post(endpoint, data=peer.localDescription.sdp, headers=headers) as response:
            answer = await response.text()
            if response.status != 201:
                raise RuntimeError(f"the server answered {response.status}: {answer}")
            resource = urljoin(endpoint, response.headers["Location"])
        say(answered=answer)
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        async with session.delete(resource) as response:
            say(deleted=response.status)
    await peer.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("endpoint")
    arguments.add_argument("--bearer", required=True)
    arguments.add_argument("--codec", default="VP8")
    arguments.add_argument("--size", default="640x360")
    given = arguments.parse_args()
    try:
        asyncio.run(publish(given.endpoint, given.bearer, given.codec, given.size))
    except Exception as error:  # whatever it was, the test must read it
        say(error=f"{type(error).__name__}: {error}")
        sys.exit(1)


main()
