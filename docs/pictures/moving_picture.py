"""Makes the README's moving picture from an annotated video and the latency log of the same run: `make picture`.

Under each picture stands what the scheduler chose just then: how many people, which exit and input size.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFont

# A picture of every so many seconds of the video, shown for so long; how wide; colours of the shared palette.
EVERY_S, SHOWN_MS, WIDTH, COLOURS = 1.0, 260, 600, 64
BAND_PX = 30


def pictures(video: Path) -> list[tuple[float, Image.Image]]:
    """(seconds, RGB picture WIDTH pixels wide)."""
    out: list[tuple[float, Image.Image]] = []
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= EVERY_S * len(out):
                height = round(frame.height * WIDTH / frame.width)
                out.append((frame.time, frame.to_image(width=WIDTH, height=height)))
    return out


def chosen(log: Path) -> list[dict[str, Any]]:
    """The log's frames in which the network ran."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [r for r in records if r["type"] == "frame" and r["exit"]]


def told(frame: dict[str, Any]) -> str:
    exit_, mirror = frame["exit"].removeprefix("exit_").removesuffix("+mirror"), "+mirror" in frame["exit"]
    people = f"{frame['faces']} " + ("person" if frame["faces"] == 1 else "people")
    return f"{people}: exit {int(exit_)} at {frame['size']} px{', twice (mirrored)' if mirror else ''}"


def captioned(picture: Image.Image, text: str) -> Image.Image:
    out = Image.new("RGB", (picture.width, picture.height + BAND_PX), "black")
    out.paste(picture)
    ImageDraw.Draw(out).text((8, picture.height + 5), text, "white", ImageFont.load_default(16))
    return out


def main(video: Path, log: Path, out: Path) -> None:
    frames = chosen(log)
    times = [frame["time_s"] for frame in frames]
    shown = [captioned(one, told(frames[max(0, bisect(times, at) - 1)])) for at, one in pictures(video)]
    palette = shown[len(shown) // 2].quantize(COLOURS, dither=Image.Dither.NONE)
    first, *others = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in shown)
    first.save(out, save_all=True, append_images=others, duration=SHOWN_MS, loop=0, optimize=True)
    print(f"{out}: {len(shown)} pictures, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
