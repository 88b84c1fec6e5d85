"""A WHIP server by aiortc: a WebRTC implementation that shares no code with Capcast.

    python receive.py [--port PORT] [--frames N] [--broadcast-box] [--plis N]

Serves `POST /api/whip` on loopback until its input ends, and prints one JSON object a line: where it listens, each session
as it begins (`session`, with the bearer that came), once N pictures and a second of sound of it are decoded (`frames`),
every second from then on (`so_far`), and as it ends by DELETE (`deleted`). With `--broadcast-box` it keeps to that server's
rules: one publisher for a key, its `Link`, its `/api/status?key=`, 204 on DELETE, no VP8. With `--plis` it asks for so many
keyframes, ten a second, and says when it has (`asked`).
"""

import argparse
import asyncio
import json
import sys

from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription

from session import receive
from view import Seen


def say(**fact):
    print(json.dumps(fact), flush=True)


class Server:
    def __init__(self, frames, broadcast_box, plis):
        self.frames = frames
        self.plis = plis
        self.broadcast_box = broadcast_box
        self.peers = {}
        self.tasks = set()

    async def publish(self, request):
        number = len(self.peers) + 1
        if self.broadcast_box and self.live():
            return web.Response(status=400, text="session already has a host\n")
        offer = RTCSessionDescription(await request.text(), "offer")
        if self.broadcast_box and "VP8/90000" in offer.sdp:
            return web.Response(status=400, text="unable to start track, codec is not supported by remote\n")
        peer = RTCPeerConnection()
        seen = Seen(self.frames)

        receive(peer, seen.picture, seen.sound)
        await peer.setRemoteDescription(offer)
        await peer.setLocalDescription(await peer.createAnswer())
        self.peers[str(number)] = peer
        self.start(self.report(number, peer, seen))
        say(session=number, bearer=request.headers.get("Authorization"), offer=offer.sdp)
        headers = {"Location": f"/api/whip/{number}"}
        if self.broadcast_box:
            rel = "urn:ietf:params:whep:ext:core:server-sent-events"
            headers["Link"] = f'</api/sse/{number}>; rel="{rel}"; events="status"'
        return web.Response(
            status=201,
            content_type="application/sdp",
            headers=headers,
            text=peer.localDescription.sdp,
        )

    async def report(self, number, peer, seen):
        await seen.enough.wait()
        lost = 0
        for stat in (await peer.getStats()).values():
            if stat.type == "inbound-rtp":
                lost += stat.packetsLost
        say(
            frames=seen.video,
            of=number,
            size=seen.size,
            contrast=seen.contrast,
            audio_frames=seen.audio,
            audio_peak=seen.peak,
            lost=lost,
        )
        picture = next(one.receiver for one in peer.getTransceivers() if one.kind == "video")
        for _ in range(self.plis):
            for source in picture.getSynchronizationSources():
                await picture._send_rtcp_pli(source.source)
            await asyncio.sleep(0.1)
        if self.plis:
            say(asked=self.plis, of=number)
        while peer.connectionState == "connected":
            await asyncio.sleep(1)
            say(so_far=seen.video, of=number)

    async def end(self, request):
        peer = self.peers.get(request.match_info["number"])
        if peer is None:
            return web.Response(status=404)
        await peer.close()
        say(deleted=int(request.match_info["number"]), bearer=request.headers.get("Authorization"))
        return web.Response(status=204 if self.broadcast_box else 200)

    async def status(self, request):
        if not self.live():
            return web.Response(status=404, text="No active stream found\n")
        say(status_of=request.query.get("key"))
        status = {"streamKey": request.query.get("key"), "motd": "Welcome!", "viewers": 1, "isOnline": True}
        return web.Response(text=json.dumps(status))

    def live(self):
        return [peer for peer in self.peers.values() if peer.connectionState in ("connecting", "connected")]

    def start(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def serve(port, frames, broadcast_box, plis):
    server = Server(frames, broadcast_box, plis)
    app = web.Application()
    app.router.add_post("/api/whip", server.publish)
    app.router.add_get("/api/status", server.status)
    app.router.add_delete("/api/whip/{number}", server.end)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
    await site.start()
    say(listening=site._server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--frames", type=int, default=60)
    arguments.add_argument("--broadcast-box", action="store_true")
    arguments.add_argument("--plis", type=int, default=0)
    given = arguments.parse_args()
    asyncio.run(serve(given.port, given.frames, given.broadcast_box, given.plis))


main()
