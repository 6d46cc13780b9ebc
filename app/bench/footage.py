"""`bench footage`: how fast a file is read, at three sizes of one clip, with its loops running ahead of each other and without.

The clip's pictures are fitted into each size, encoded as H.264 and read by both paths in turn, several times; what comes out
must be the same to the last digit. Beside frames a second there is processor time a frame, which other programs hardly change.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from app.compose import App
    from app.domain import Image, Result
    from app.settings import Settings

SIZES = (480, 270), (1280, 720), (3840, 2160)
WAYS = "plain", "ahead"  # a frame at a time through the three loops; app/footage/path.py
ENCODED = {"preset": "veryfast", "crf": "18"}
SAMPLE_S = 1.0
WARM = 0.3  # share of a long run in which memory is not judged


@dataclass(frozen=True)
class Run:
    """One file, read once."""

    frames: int
    faces: int  # read
    took_s: float
    work_s: float  # of all threads
    answer: str  # a hash of all that was found

    @property
    def fps(self) -> float:
        return self.frames / self.took_s

    def to_json(self) -> dict[str, float]:
        per_frame = {"faces_per_frame": self.faces / self.frames, "work_ms_per_frame": 1e3 * self.work_s / self.frames}
        return {"frames_per_s": self.fps, "faces_per_s": self.faces / self.took_s, **per_frame}


class Digest:
    """A sink that boils results down to a hash."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def deliver(self, result: Result) -> None:
        self._hash.update(repr((result.frame.id, result.frame.time_s, result.people)).encode())

    def close(self) -> None:
        """There is nothing to end."""

    def __str__(self) -> str:
        return self._hash.hexdigest()


def bench_footage(clip: Path, frames: int, rounds: int, looped: int, settings: Settings, out: Path | None) -> int:
    """Prints and writes the table; 1 where the two ways differ in what they find."""
    if min(frames, rounds) < 1 or looped < 0:
        raise UsageError("--frames and --rounds must be 1 or more, --looped 0 or more")
    if out:
        check_writable(out)
    table: dict[str, Any] = {"clip": clip.name, "frames": frames, "rounds": rounds, "sizes": {}}
    print(f"{'size':>9}  way     frames/s  faces/s  ms of work a frame  faster")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            name = "{}x{}".format(*size)
            file = encoded(clip, Path(folder) / f"{name}.mp4", size, frames)
            table["sizes"][name] = _compared(name, file, rounds, settings)
        if looped:
            table["memory"] = _memory(Path(folder) / "{}x{}.mp4".format(*SIZES[0]), looped, settings)
    if out:
        out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["same"] for row in table["sizes"].values()) else 1


def _compared(name: str, file: Path, rounds: int, settings: Settings) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(read(file, way, settings))
    faster = median(b.fps / a.fps for a, b in zip(runs["plain"], runs["ahead"], strict=True))
    row: dict[str, Any] = {"faster": faster, "same": len({r.answer for way in WAYS for r in runs[way]}) == 1}
    for way in WAYS:
        row[way] = best = max(runs[way], key=lambda r: r.fps).to_json()
        print(
            f"{name:>9}  {way:<6} {best['frames_per_s']:>9.1f} {best['faces_per_s']:>8.1f} {best['work_ms_per_frame']:>19.1f}"
            + (f"  {faster:>5.2f}x{'' if row['same'] else '  RESULTS DIFFER'}" if way == WAYS[-1] else "")
        )
    return row


def read(file: Path, way: str, settings: Settings) -> Run:
    """The best of several runs is told: others' work only ever slows one down."""
    digest = Digest()
    app = _app(file, way, settings, digest)
    began_s, before_s = time.monotonic(), time.process_time()
    app.pipeline.start()
    try:
        app.pipeline.wait()
        took_s, work_s = time.monotonic() - began_s, time.process_time() - before_s
    finally:
        app.pipeline.close()
    if app.pipeline.failure:
        raise app.pipeline.failure
    return Run(app.pipeline.totals.frames, app.pipeline.totals.read, took_s, work_s, str(digest))


def _app(file: Path, way: str, settings: Settings, *watch: Digest, loop: bool = False) -> App:
    from app.compose import build
    from app.footage.path import FootagePath
    from app.pipeline import Pipeline

    settings = dataclasses.replace(settings, source=str(file), show=False, loop=loop)
    return build(settings, watch=watch, of_files=FootagePath if way == "ahead" else Pipeline)


def _memory(file: Path, frames: int, settings: Settings) -> dict[str, float]:
    """Resident memory while a file plays again and again, `frames` in all; as a slope, by Theil and Sen."""
    import psutil
    from scipy.stats import theilslopes

    app, process = _app(file, "ahead", settings, loop=True), psutil.Process()
    seen, memory_mb = list[int](), list[float]()
    app.pipeline.start()
    try:
        while app.pipeline.totals.frames < frames and not app.pipeline.wait(SAMPLE_S):
            seen.append(app.pipeline.totals.frames)
            memory_mb.append(process.memory_info().rss / 2**20)
    finally:
        app.pipeline.close()
    first = int(len(seen) * WARM)
    slope, _, low, high = theilslopes(memory_mb[first:], seen[first:])
    row = {
        "frames": seen[-1],
        "hours_at_30": seen[-1] / 30 / 3600,
        "first_mb": memory_mb[first],
        "last_mb": memory_mb[-1],
    }
    row |= {"mb_per_1000": 1e3 * float(slope), "low": 1e3 * float(low), "high": 1e3 * float(high)}
    print(
        f"memory    {row['first_mb']:.0f} MB, at the end {row['last_mb']:.0f} MB, over {row['frames']} frames "
        f"({row['hours_at_30']:.2f} h at 30 a second): {row['mb_per_1000']:+.3f} MB per 1000 frames "
        f"({row['low']:+.3f} to {row['high']:+.3f})"
    )
    return row


def encoded(clip: Path, path: Path, size: tuple[int, int], frames: int) -> Path:
    """The clip's pictures, as often as gives so many, fitted into the size. Raises SourceError."""
    import av

    from app.sources.open import Playing, open_source

    source = open_source(str(clip), Playing(loop=True))
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=round(source.fps or 25), options=ENCODED)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for frame in islice(source, frames):
                picture = av.VideoFrame.from_ndarray(fitted(frame.image, size), format="bgr24")
                picture.pts, picture.time_base = round(frame.time_s * 1000), Fraction(1, 1000)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    finally:
        source.close()
    return path


def fitted(image: Image, size: tuple[int, int]) -> Image:
    """As large as goes into (width, height), in the middle, on black."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = (size[1] - inner.shape[0]) // 2, (size[0] - inner.shape[1]) // 2
    canvas[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return canvas


__all__ = ["bench_footage", "encoded", "read"]
