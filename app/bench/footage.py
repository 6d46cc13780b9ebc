"""`bench footage`: how fast a file is read, at three sizes of one clip, beside one step after the other on one thread, and
beside another checkout of this program.

The clip's pictures are fitted into each size and encoded as H.264. All then read each file in turn, several times; ours must
give the same bytes each time, and the same as on one thread. Figures are of the runs' own summaries: loading does not count.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from app.domain import Image

SIZES = (480, 270), (1280, 720), (3840, 2160)
HERE = Path(__file__).parents[2]
ENCODED = {"preset": "veryfast", "crf": "18"}
SAMPLE_S = 1.0
WARM = 0.3  # share of a long run in which memory is not judged


@dataclass(frozen=True)
class Program:
    """A checkout of this program, and how it is to read."""

    folder: Path
    exit: str = ""  # "": as it does by itself
    plain: bool = False  # one step after the other

    def command(self, file: Path, results: Path) -> list[str]:
        if self.plain:
            return [sys.executable, "-m", "app.bench.footage_plain", str(file), str(results)]
        command = [sys.executable, "main.py", "run", "--source", str(file), "--no-show", "--results", str(results)]
        return command + (["--exit", self.exit] if self.exit else [])


@dataclass(frozen=True)
class Run:
    """One file, read once."""

    fps: float
    faces_per_s: float  # that were read


def bench_footage(clip: Path, frames: int, rounds: int, looped: int, beside: Program | None, out: Path | None) -> int:
    """Prints and writes the table; 1 where ours does not give the same bytes each time. Raises UsageError."""
    if min(frames, rounds) < 1 or looped < 0:
        raise UsageError("--frames and --rounds must be 1 or more, --looped 0 or more")
    if beside and not (beside.folder / "main.py").is_file():
        raise UsageError(f"--beside {beside.folder} holds no main.py: name the folder of another checkout")
    if out:
        check_writable(out)
    table: dict[str, Any] = {"clip": clip.name, "frames": frames, "rounds": rounds, "sizes": {}}
    print(f"{'size':>9}  program  frames/s (best, median)  faces/s (best, median)")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            name = "{}x{}".format(*size)
            file = encoded(clip, Path(folder) / f"{name}.mp4", size, frames)
            table["sizes"][name] = _compared(name, file, rounds, beside)
        if looped:
            table["memory"] = _memory(Path(folder) / "{}x{}.mp4".format(*SIZES[0]), looped)
    if out:
        out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["same"] for row in table["sizes"].values()) else 1


def _compared(name: str, file: Path, rounds: int, beside: Program | None) -> dict[str, Any]:
    programs = {"plain": Program(HERE, plain=True), "this": Program(HERE)}
    if beside:
        programs["beside"] = beside
    runs: dict[str, list[Run]] = {program: [] for program in programs}
    answers = set[bytes]()
    for _ in range(rounds):
        for program, how in programs.items():
            results = file.with_suffix(f".{program}.jsonl")
            runs[program].append(read(how, file, results))
            if program != "beside":
                answers.add(results.read_bytes())
    for program, of in runs.items():
        rates, faces = [r.fps for r in of], [r.faces_per_s for r in of]
        print(
            f"{name:>9}  {program:<7} {max(rates):>12.1f} {median(rates):>10.1f} {max(faces):>13.1f} {median(faces):>10.1f}"
        )
    for other in [program for program in programs if program != "this"]:
        pairs = list(zip(runs["this"], runs[other], strict=True))
        frames, faces = (median(getattr(a, f) / getattr(b, f) for a, b in pairs) for f in ("fps", "faces_per_s"))
        print(
            f"{name:>9}  {frames:.2f} times {other}'s frames a second, {faces:.2f} times its faces (medians of pairs)"
        )
    if len(answers) > 1:
        print(f"{name:>9}  RESULTS DIFFER from run to run")
    return {"same": len(answers) == 1} | {program: [asdict(r) for r in of] for program, of in runs.items()}


def read(program: Program, file: Path, results: Path) -> Run:
    """Runs a program over a file. Raises UsageError where that fails."""
    command = program.command(file, results)
    done = subprocess.run(command, cwd=program.folder, capture_output=True, text=True, check=False)
    said = re.search(r"frames +(\d+), ([\d.]+) fps.*faces +\d+ in all frames, (\d+) read", done.stdout, re.DOTALL)
    if done.returncode or not said:
        why = done.stderr.strip().rpartition("\n")[2] or "it says no frames a second; give it more --frames"
        raise UsageError(f"{program.folder} cannot read {file.name}: {why}")
    frames, fps, faces = int(said[1]), float(said[2]), int(said[3])
    return Run(fps, fps * faces / frames)


def _memory(file: Path, frames: int) -> dict[str, float]:
    """Resident memory while a file plays again and again, `frames` in all; as a slope, by Theil and Sen."""
    import psutil
    from scipy.stats import theilslopes

    from app.compose import build
    from app.settings import Settings

    app, process = build(Settings(source=str(file), show=False, loop=True)), psutil.Process()
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
    """The clip's pictures, looped up to the number wanted, fitted into the size. Raises SourceError."""
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


__all__ = ["Program", "bench_footage", "encoded"]
