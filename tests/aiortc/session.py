"""A session at a WHEP server, as the viewers here have it."""

import asyncio
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


def receive(peer, picture, sound):
    """Gives each picture and each block of sound that the peer receives to these."""
    tasks = []

    async def read(track, take):
        while True:
            try:
                take(await track.recv())
            except MediaStreamError:
                return

    @peer.on("track")
    def on_track(track):
        # A task that nobody holds may be swept away.
        tasks.append(asyncio.ensure_future(read(track, picture if track.kind == "video" else sound)))


class Session:
    """`async with Session(endpoint, picture, sound) as session:` waits until the stream is live, receives until the end of
    the block, and leaves by DELETE (`deleted` is the answer's status)."""

    def __init__(self, endpoint, picture, sound, bearer=None):
        self.endpoint, self.picture, self.sound = endpoint, picture, sound
        self.headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        self.deleted = None

    async def __aenter__(self):
        self.peer = RTCPeerConnection()
        receive(self.peer, self.picture, self.sound)
        self.peer.addTransceiver("video", direction="recvonly")
        self.peer.addTransceiver("audio", direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.http = aiohttp.ClientSession(headers=self.headers)
        try:
            await self._offer()
        except BaseException:
            await self.http.close()
            await self.peer.close()
            raise
        await self.peer.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
        return self

    async def _offer(self):
        """A stream that is not live yet is asked for again."""
        while True:
            headers = {"Content-Type": "application/sdp"}
            async with self.http.post(self.endpoint, data=self.peer.localDescription.sdp, headers=headers) as response:
                self.answer = await response.text()
                if response.status == 201:
                    self.links = response.headers.getall("Link", [])
                    self.resource = urljoin(self.endpoint, response.headers["Location"])
                    return
                if response.status not in (409, 503):
                    raise RuntimeError(f"the server answered {response.status}: {self.answer}")
                await asyncio.sleep(min(2.0, float(response.headers.get("Retry-After", "1"))))

    async def __aexit__(self, *_):
        async with self.http.delete(self.resource) as response:
            self.deleted = response.status
        await self.http.close()
        await self.peer.close()
