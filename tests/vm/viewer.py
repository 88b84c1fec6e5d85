"""A WHEP viewer by aiortc that measures what it sees and hears: bars, their colours, the running counter, the tone."""

import asyncio
import math
import time
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


class Seen:
    """Everything measured so far. `changed` fires at each picture and each sound."""

    def __init__(self):
        self.size = None
        self.times = []  # of each picture, in seconds, as its RTP time says
        self.arrivals = []  # and when it was there
        self.bars = []  # (Y, Cb, Cr) amid each of eight upright bars of the newest picture
        self.counter_changes = 0
        self._counter = None
        self.samples = []  # of the newest second of sound
        self.sample_rate = None
        self.changed = asyncio.Event()

    def picture(self, frame):
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        self.size = (frame.width, frame.height)
        self.times.append(float(frame.pts * frame.time_base))
        self.arrivals.append(time.monotonic())
        planes = [(memoryview(plane), plane.line_size) for plane in frame.planes]

        def at(plane, x, y):
            view, stride = planes[plane]
            return view[y * stride + x]

        y = frame.height * 3 // 4
        xs = [frame.width * (2 * bar + 1) // 16 for bar in range(8)]
        self.bars = [(at(0, x, y), at(1, x // 2, y // 2), at(2, x // 2, y // 2)) for x in xs]
        # vivid writes time and frame number at 16,16, in letters of 8x16.
        view, stride = planes[0]
        counter = b"".join(bytes(view[row * stride : row * stride + 140]) for row in range(16, 32))
        # The encoder may change a still picture by a step or two, digits change it by a hundred.
        if self._counter is not None and max(abs(a - b) for a, b in zip(counter, self._counter)) > 60:
            self.counter_changes += 1
        self._counter = counter
        self.changed.set()

    def sound(self, frame):
        channels = len(frame.layout.channels)
        # The plane is longer than what is in it.
        samples = memoryview(bytes(frame.planes[0])).cast("h")[: frame.samples * channels]
        self.sample_rate = frame.sample_rate
        self.samples.extend(samples[::channels])
        del self.samples[: -frame.sample_rate]
        self.changed.set()

    async def until(self, wanted, seconds, what):
        """Waits until `wanted(self)` holds."""

        async def wait():
            while not wanted(self):
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(wait(), seconds)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {what} within {seconds} s: {self}") from None

    def interval(self):
        """The median time between two pictures, in seconds."""
        gaps = sorted(b - a for a, b in zip(self.times, self.times[1:]))
        return gaps[len(gaps) // 2]

    async def clean_tone(self, wanted, seconds):
        """Waits for a second of sound that is this tone (to 2 Hz) and little else; a busy machine may tear the first."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            self.samples.clear()
            await self.until(Seen.heard_a_second, seconds, "second of sound")
            frequency, share = self.tone()
            if abs(frequency - wanted) <= 2 and share > 0.8:
                return frequency, share
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"{frequency} Hz with {share:.0%} of the power, not {wanted} Hz")

    def tone(self):
        """The strongest frequency of the newest second in Hz (to 1 Hz), and its share of the whole power."""

        # Coarsely over a twentieth of a second, then finely over all of it.
        def power(samples, frequency):  # Goertzel's
            step = 2 * math.cos(2 * math.pi * frequency / self.sample_rate)
            before = last = 0.0
            for sample in samples:
                before, last = last, sample + step * last - before
            return last * last + before * before - step * last * before

        short = self.samples[-self.sample_rate // 20 :]
        coarse = max(range(100, 2000, 20), key=lambda frequency: power(short, frequency))
        frequency = max(range(coarse - 20, coarse + 21), key=lambda frequency: power(self.samples, frequency))
        total = sum(sample * sample for sample in self.samples) or 1
        return frequency, 2 * power(self.samples, frequency) / (len(self.samples) * total)

    def heard_a_second(self):
        return self.sample_rate is not None and len(self.samples) >= self.sample_rate and max(self.samples) > 1000

    def __str__(self):
        loudest = max(map(abs, self.samples), default=0)
        return (
            f"{len(self.times)} pictures of {self.size}, bars {self.bars}, {self.counter_changes} counter changes, "
            f"{len(self.samples)} samples, loudest {loudest}"
        )


class Viewer:
    """`async with Viewer(url) as seen:`: watches until the end of the block, and leaves by DELETE."""

    def __init__(self, endpoint, seconds=60):
        self.endpoint = endpoint
        self.seconds = seconds
        self.seen = Seen()
        self.tasks = []

    async def __aenter__(self):
        self.peer = self.seen.peer = RTCPeerConnection()

        async def read(track, take):
            try:
                while True:
                    take(await track.recv())
            except MediaStreamError:
                pass

        @self.peer.on("track")
        def on_track(track):
            take = self.seen.picture if track.kind == "video" else self.seen.sound
            self.tasks.append(asyncio.ensure_future(read(track, take)))

        self.peer.addTransceiver("video", direction="recvonly")
        self.peer.addTransceiver("audio", direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.session = aiohttp.ClientSession()
        try:
            answer, self.resource = await asyncio.wait_for(self._offer(), self.seconds)
        except BaseException as error:
            await self.session.close()
            await self.peer.close()
            if not isinstance(error, asyncio.TimeoutError):
                raise
            raise AssertionError(f"{self.endpoint} gave no answer within {self.seconds} s: {self.refusal}") from None
        await self.peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return self.seen

    async def _offer(self):
        self.refusal = "nothing listens"
        while True:
            headers = {"Content-Type": "application/sdp"}
            wait = 0.2
            try:
                async with self.session.post(
                    self.endpoint, data=self.peer.localDescription.sdp, headers=headers
                ) as response:
                    body = await response.text()
                    if response.status == 201:
                        return body, urljoin(self.endpoint, response.headers["Location"])
                    self.refusal = f"{response.status} {body}"
                    if response.status not in (409, 503):
                        raise AssertionError(f"{self.endpoint} answered {self.refusal}")
                    wait = min(1.0, float(response.headers.get("Retry-After", "1")))
            except aiohttp.ClientConnectionError:
                pass  # the daemon is starting
            await asyncio.sleep(wait)  # as long as the server asked for

    async def __aexit__(self, *_):
        async with self.session.delete(self.resource) as response:
            self.left = response.status
        await self.session.close()
        await self.peer.close()
        for task in self.tasks:
            task.cancel()
