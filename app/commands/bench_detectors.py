"""`bench detectors`: the detectors that `--detector` offers, side by side: recall, speed, and the age's error behind them.

UTKFace pictures are shrunk and put on grey canvases of 640x360; each detector scans them whole, its first face is aligned and
read by the shipped network at its last exit. Found is what the first frame's scan gives, read what is aligned at the
third; ages are also compared on the pictures that all of them find.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.latency import quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain import Box

CANVAS = 640, 360
CHIP_PX = 110, 330  # a chip's side on the canvas; the face's width is about half of it
SEED = 5


def bench_detectors(
    root: Path | None, names: Path | None, count: int, detectors: list[str], model: str, out: Path | None
) -> int:
    """Raises UsageError."""
    if root is None:
        raise UsageError("bench detectors needs --utkface DIR, the folder of UTKFace's pictures")
    if not 10 <= count <= 20_000:
        raise UsageError(f"--count must be from 10 to 20000, got {count}")
    if out:
        check_writable(out)
    import cv2

    from align.crop import crop_batch
    from align.geometry import Template
    from app.compose import load_manifest, make_front_end
    from app.detector import open_detector
    from app.domain import Frame
    from app.engine import OnnxEngine, readings
    from app.scan import Scanner
    from app.tracker import Tracker

    manifest = load_manifest(model)
    samples = _samples(root, names, count)
    engine = OnnxEngine(manifest, "cpu", exits=[manifest.exits[-1].name])
    point = max(engine.points)
    opened = {name: open_detector(name) for name in detectors}
    ages: dict[str, dict[int, float]] = {name: {} for name in detectors}
    taken: dict[str, list[float]] = {name: [] for name in detectors}
    found = dict.fromkeys(detectors, 0)
    template, random = Template(manifest.template), np.random.default_rng(SEED)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for i, (path, _) in enumerate(samples):
            canvas, face = _placed(path, random)
            for name, detector in opened.items():
                scanner = _Only(Scanner(detector), face)
                front_end = make_front_end(template, Tracker(), scanner)
                for k in range(3):  # a face is sure at the third time at the latest
                    prepared = front_end(Frame(k, canvas, k / 25, 0.0))
                taken[name].append(scanner.taken_ms[0])
                found[name] += scanner.found
                if prepared.faces:
                    crops = crop_batch(canvas, [prepared.faces[0].matrix], point.size)
                    ages[name][i] = readings(manifest, point, engine.run(point, crops))[0].age
    finally:
        cv2.setNumThreads(threads)
    truth = [age for _, age in samples]
    common = set.intersection(*(set(read) for read in ages.values()))
    print(
        f"{len(samples)} UTKFace pictures, {CHIP_PX[0]} to {CHIP_PX[1]} px on {CANVAS[0]}x{CANVAS[1]}; one thread; first "
        f"frame scanned whole; {point}; MAE in years, in brackets on the {len(common)} pictures that all find"
    )
    print(f"{'detector':<14}{'found':>8}{'read':>8}{'processor, ms p50':>19}{'p95':>8}{'MAE':>8}{'':10}")
    report: dict[str, Any] = {"pictures": len(samples), "common": len(common), "point": str(point)}
    for name, read in ages.items():
        errors = {i: abs(age - truth[i]) for i, age in read.items()}
        row = {
            "found": found[name] / len(samples),
            "read": len(read) / len(samples),
            "p50_ms": quantile(taken[name], 0.5),
            "p95_ms": quantile(taken[name], 0.95),
            "mae": float(np.mean(list(errors.values()))) if errors else None,
            "mae_common": float(np.mean([errors[i] for i in common])) if common else None,
        }
        report[name] = row
        mae = f"{row['mae']:>8.2f} ({row['mae_common']:.2f})" if common else f"{'-':>8}"
        print(
            f"{name.split(':')[0]:<14}{row['found']:>8.1%}{row['read']:>8.1%}{row['p50_ms']:>19.1f}{row['p95_ms']:>8.1f}{mae}"
        )
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


class _Only:
    """A scanner whose time is taken, and which keeps the box on the picture's own face: others are no matter here."""

    def __init__(self, scanner: Any, face: tuple[float, float, float]) -> None:
        self._scanner, self._face = scanner, face
        self.taken_ms, self.found = list[float](), False  # of each frame; in the first

    def __call__(
        self, image: NDArray[np.uint8], gray: NDArray[np.uint8], time_s: float, known: dict[int, Box], rolls: Any = None
    ) -> Any:
        from app.scan import Scan

        began = time.thread_time()
        scan = self._scanner(image, gray, time_s, known, rolls)
        self.taken_ms.append((time.thread_time() - began) * 1e3)
        x, y, side = self._face
        near = [b for b in scan.faces if max(abs(b.centre[0] - x), abs(b.centre[1] - y)) < 0.25 * side]
        self.found |= bool(near) and len(self.taken_ms) == 1
        return Scan(near[:1], scan.looked_for)


def _samples(root: Path, names: Path | None, count: int) -> list[tuple[Path, int]]:
    """Every so many of the pictures whose name tells an age."""
    try:
        wanted = names.read_text(encoding="utf-8").split() if names else sorted(p.name for p in root.iterdir())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
    found = [(root / Path(n).name, n) for n in wanted if Path(n).name.split("_")[0].isdecimal()]
    samples = [(path, int(Path(n).name.split("_")[0])) for path, n in found if path.is_file()]
    if len(samples) < count:
        raise UsageError(f"{root} holds {len(samples)} of the UTKFace pictures asked for, fewer than --count {count}")
    return samples[:: len(samples) // count][:count]


def _placed(path: Path, random: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """A canvas with the picture somewhere on it; the middle of the chip's face and the chip's side."""
    import cv2

    chip = cv2.imread(str(path))
    side = int(random.uniform(*CHIP_PX))
    x, y = int(random.uniform(0, CANVAS[0] - side)), int(random.uniform(0, CANVAS[1] - side))
    canvas = np.full((CANVAS[1], CANVAS[0], 3), 128, np.uint8)
    canvas[y : y + side, x : x + side] = cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA)
    return canvas, (x + side / 2, y + side / 2, float(side))
