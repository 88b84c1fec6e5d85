"""A WHEP viewer that reads the stamp of the test picture, and tells how old the pictures are.

    python age.py ENDPOINT --every SECONDS

Prints one JSON object every SECONDS: pictures since the last one, how many numbers were missing between them, how many had
no stamp that can be read, and their age in ms as the decoder gave them (median, 95th percentile, highest). Leaves by
DELETE when its input ends.
"""

import argparse
import asyncio
import json
import sys
import time

from session import Session

# As `src/engine/stamp.rs` draws it.
BLOCKS_ACROSS = 80
BITS = 32
# Older than this is no age but a misread stamp.
OLDEST = 10 * 60 * 1000


def number(plane, width, row):
    """One row of blocks, each read in its middle."""
    luma, line = memoryview(plane), plane.line_size
    y = (2 * row + 1) * width // (2 * BLOCKS_ACROSS)
    value = 0
    for bit in range(BITS):
        x = (2 * bit + 1) * width // (2 * BLOCKS_ACROSS)
        value = value << 1 | (luma[y * line + x] > 125)
    return value


class Ages:
    def __init__(self):
        self.last = None
        self.clear()

    def clear(self):
        self.ages, self.missing, self.unreadable = [], 0, 0

    def picture(self, frame):
        age = (int(time.time() * 1000) - number(frame.planes[0], frame.width, 0)) % 2**32
        count = number(frame.planes[0], frame.width, 1)
        if age > OLDEST:
            self.unreadable += 1
            return
        self.ages.append(age)
        if self.last is not None and self.last < count < self.last + 10_000:
            self.missing += count - self.last - 1
        self.last = count

    def tell(self):
        ages = sorted(self.ages)
        at = lambda percent: ages[(len(ages) - 1) * percent // 100] if ages else None
        fact = {"pictures": len(ages), "missing": self.missing, "unreadable": self.unreadable}
        fact |= {"age_p50": at(50), "age_p95": at(95), "age_max": at(100)}
        print(json.dumps(fact), flush=True)
        self.clear()


async def view(endpoint, every):
    ages = Ages()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with Session(endpoint, ages.picture, lambda frame: None):
        while not (await asyncio.wait([ended], timeout=every))[0]:
            ages.tell()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("endpoint")
    arguments.add_argument("--every", type=float, default=5)
    given = arguments.parse_args()
    try:
        asyncio.run(view(given.endpoint, given.every))
    except Exception as error:  # whatever it was, the test must read it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
