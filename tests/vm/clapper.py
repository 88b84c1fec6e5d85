"""In the guest: claps before the capture card and the sound card, with each full second of the wall clock.

    python3 clapper.py NODE PCM

The picture turns bright for a moment (the card's control of brightness), and a beep of 60 ms is played whose first sample the
sound card reaches at that moment, however fast its clock runs. Says `clapping` once it does, and goes on until it is ended.
"""

import ctypes
import fcntl
import math
import os
import struct
import sys
import threading
import time

RATE, BLOCK = 48_000, 480
BEEP = RATE * 60 // 1000
SET_CONTROL, BRIGHTNESS = 0xC008561C, 0x00980900
S16_LE, INTERLEAVED, PLAYBACK = 2, 3, 0


def flash(node):
    device = os.open(node, os.O_RDWR)

    def set_brightness(value):
        fcntl.ioctl(device, SET_CONTROL, struct.pack("Ii", BRIGHTNESS, value))

    never = threading.Event()
    while True:
        now = time.time()
        never.wait(math.floor(now) + 1 - now)
        set_brightness(255)
        never.wait(0.15)
        set_brightness(128)


def opened(alsa, name):
    """The sound card, ready to play."""
    pcm = ctypes.c_void_p()
    if alsa.snd_pcm_open(ctypes.byref(pcm), name.encode(), PLAYBACK, 0) < 0:
        sys.exit(f"{name} cannot be opened")
    if alsa.snd_pcm_set_params(pcm, S16_LE, INTERLEAVED, 2, RATE, 0, 100_000) < 0:
        sys.exit(f"{name} does not play 48 kHz")
    return pcm


def sound(alsa, name):
    """Plays blocks for ever; in the one in which a second begins, the beep does."""
    pcm = opened(alsa, name)
    print("clapping", flush=True)
    waiting = ctypes.c_long()
    silence = bytes(4 * BLOCK)
    left, phase = 0, 0
    while True:
        if alsa.snd_pcm_delay(pcm, ctypes.byref(waiting)) < 0:
            waiting.value = 0
        begin = time.time() + waiting.value / RATE
        until = math.ceil(begin) - begin
        start = round(until * RATE)
        if left == 0 and start >= BLOCK:
            block = silence
        else:
            samples = [0] * BLOCK
            if left == 0:
                left, phase = BEEP, 0
            else:
                start = 0
            for at in range(start, BLOCK):
                if left > 0:
                    samples[at] = int(13_107 * math.sin(2 * math.pi * 1000 * phase / RATE))
                    left, phase = left - 1, phase + 1
            block = struct.pack(f"<{2 * BLOCK}h", *(sample for sample in samples for _ in range(2)))
        wrote = alsa.snd_pcm_writei(pcm, block, ctypes.c_ulong(BLOCK))
        if wrote < 0 and alsa.snd_pcm_recover(pcm, int(wrote), 1) < 0:
            print(f"the sound card refuses: {wrote}", flush=True)
            alsa.snd_pcm_close(pcm)
            pcm = opened(alsa, name)


def main():
    node, name = sys.argv[1:]
    alsa = ctypes.CDLL("libasound.so.2")
    alsa.snd_pcm_writei.restype = ctypes.c_long
    threading.Thread(target=flash, args=(node,), daemon=True).start()
    sound(alsa, name)


main()
