"""`bench estimates`: how steady what is shown of a person is, over clips; and the shares that people.py's filter rests on.

Each person's readings are shown three ways: as they come, averaged over 3 s (the first version), and fused (people.py).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.domain import Estimate, Reading
    from app.network.onnx_cpu import CpuEngine
    from models.manifest import Manifest

    Watched = list[tuple[int, float, list[Reading]]]  # frame, time and a reading per exit

FRAMES = 8  # per face of a data set, a fifth of a second apart


def bench_estimates(
    clips: Sequence[Path], utkface: Path | None, names: Path | None, count: int, model: str, json_path: Path | None
) -> int:
    """Raises UsageError, SourceError, ModelError."""
    if not clips and not utkface:
        raise UsageError("give --clips VIDEO ..., --utkface DIR, or both")
    if json_path:
        check_writable(json_path)
    from app.compose import load_manifest
    from app.network.onnx_cpu import CpuEngine

    manifest = load_manifest(model)
    engine, report = CpuEngine(manifest), dict[str, Any]()
    if clips:
        report["clips"] = [row for clip in clips for row in _clip(clip, manifest, engine)]
    if utkface:
        report["faces"] = _faces(utkface, names, count, manifest, engine)
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


# --- clips -----------------------------------------------------------------------------------------------------------


def _clip(clip: Path, manifest: Manifest, engine: CpuEngine) -> list[dict[str, Any]]:
    from app.people.estimates import People

    watched, rows = _watch(clip, manifest, engine), []
    print(f"{clip.name}: readings by the deepest exit, and by one at random in each frame")
    print(
        f"{'person':<8}{'exits':<9}{'shown':<10}{'frames':>7}{'age, median':>13}{'largest jump':>14}{'age change a frame':>20}"
        f"{'age, deviation':>16}{'half interval':>15}{'gender flips':>14}{'expression flips':>18}"
    )
    for person, seen in watched.items():
        if len(seen) < 2:
            continue
        for exits in ("deepest", "mixed"):
            rng = np.random.default_rng(0)
            chosen = [
                (frame, time_s, by_exit[-1 if exits == "deepest" else rng.integers(len(by_exit))])
                for frame, time_s, by_exit in seen
            ]
            for way, memory in (
                ("raw", AsTheyCome(manifest.genders, manifest.expressions)),
                ("averaged", Averaged(manifest.genders, manifest.expressions)),
                ("fused", People(manifest.genders, manifest.expressions)),
            ):
                shown = []
                for frame, time_s, reading in chosen:
                    memory.read(1, reading, frame, time_s)
                    shown += [estimate] if (estimate := memory.estimate(1)) else []
                if len(shown) < 2:  # never sure enough of the age
                    continue
                row = {"clip": clip.name, "person": person, "exits": exits, "way": way, **_steadiness(shown)}
                rows.append(row)
                print(
                    f"{person:<8}{exits:<9}{way:<10}{len(shown):>7}{row['age_median']:>13.1f}{row['age_jump']:>14.1f}"
                    f"{row['age_change']:>20.2f}{row['age_deviation']:>16.2f}"
                    f"{row['half']:>15.1f}{row['gender_flips']:>14}{row['expression_flips']:>18}"
                )
        if len(seen) >= 20:
            _print_shares(person, seen)
    return rows


def _watch(clip: Path, manifest: Manifest, engine: CpuEngine) -> dict[int, Watched]:
    """Everybody's readings in a clip at the largest input size."""
    from align.crop import crop_batch
    from app.compose import make_front_end
    from app.settings import Settings
    from app.sources.open import open_source

    front_end, watched = make_front_end(Settings(), manifest.template, live=False), defaultdict[int, Any](list)
    points = [OperatingPoint(e.name, max(manifest.input_sizes)) for e in manifest.exits]
    for frame in open_source(str(clip)):
        faces = front_end(frame).faces
        if faces:
            crops = crop_batch(frame.image, [f.matrix for f in faces], points[0].size)
            by_exit = [engine.read(point, crops) for point in points]
            for i, face in enumerate(faces):
                watched[face.person].append((frame.id, frame.time_s, [r[i] for r in by_exit]))
    return watched


def _steadiness(shown: list[Estimate]) -> dict[str, float]:
    ages = np.array([e.age for e in shown])
    return {
        "age_median": float(np.median(ages)),
        "age_jump": float(np.abs(np.diff(ages)).max()),
        "age_change": float(np.sqrt(np.mean(np.diff(ages) ** 2))),
        "age_deviation": float(ages.std()),
        "half": float(np.mean([e.age_high - e.age for e in shown])),
        "gender_flips": sum(a.gender != b.gender for a, b in pairwise(shown)),
        "expression_flips": sum(a.expression != b.expression for a, b in pairwise(shown)),
    }


def _print_shares(person: int, seen: Watched) -> None:
    """Frame noise is what successive readings of one exit differ by; what else they stray by is slow."""
    ages = np.array([[r.age for r in by_exit] for _, _, by_exit in seen])
    squared = np.mean([[r.half**2 for r in by_exit] for _, _, by_exit in seen], axis=0)
    frame = (np.diff(ages, axis=0) ** 2).mean(axis=0) / 2
    slow = np.maximum(ages.var(axis=0) - frame, 0)
    print(
        f"  person {person}, shares of the squared half interval over the exits: frame {np.mean(frame / squared):.3f}, "
        f"slow {np.mean(slow / squared):.3f}"
    )


class AsTheyCome:
    """Shows the last reading."""

    def __init__(self, genders: Sequence[str], expressions: Sequence[str]) -> None:
        self._labels = genders, expressions
        self._age = self._half = 0.0
        self._p: list[Any] = []

    def read(self, person: int, reading: Reading, frame: int, time_s: float) -> None:
        self._age, self._half, self._p = reading.age, reading.half, [reading.gender, reading.expression]

    def estimate(self, person: int) -> Estimate:
        from app.domain import Estimate

        said = (
            max(zip(p, labels, strict=True), default=(0.0, "")) for p, labels in zip(self._p, self._labels, strict=True)
        )
        (gender_p, gender), (expression_p, expression) = said
        low, high = self._age - self._half, self._age + self._half
        return Estimate(self._age, low, high, gender, float(gender_p), expression, float(expression_p), "")


class Averaged(AsTheyCome):
    """The first version: the mean of the last 3 s weighted by 1 / half^2, expressions over 0.4 s."""

    _weight, _read_s = 0.0, -math.inf

    def read(self, person: int, reading: Reading, frame: int, time_s: float) -> None:
        passed = time_s - self._read_s
        kept, weight = self._weight * math.exp(-passed / 3.0), 1 / max(reading.half, 0.5) ** 2
        share = weight / (kept + weight)
        if not self._p:
            self._p = [reading.gender, reading.expression]
        self._age += share * (reading.age - self._age)
        self._half += share * (reading.half - self._half)
        quick = max(share, 1 - math.exp(-passed / 0.4))
        self._p = [
            old + by * (new - old)
            for old, new, by in zip(self._p, (reading.gender, reading.expression), (share, quick), strict=True)
        ]
        self._weight, self._read_s = kept + weight, time_s


# --- faces of a data set ---------------------------------------------------------------------------------------------


def _faces(root: Path, names: Path | None, count: int, manifest: Manifest, engine: CpuEngine) -> dict[str, Any]:
    """Shares of frame noise and of the exits' offsets, and how many ages lie in the intervals that are shown."""
    from tqdm import tqdm

    from align.crop import crop_batch
    from align.geometry import Template
    from align.landmarks import LandmarkPredictor
    from app.bench.face_views import frames, portraits
    from app.people.estimates import People

    predict, template, rng = LandmarkPredictor(), Template(manifest.template), np.random.default_rng(0)
    points = [OperatingPoint(e.name, max(manifest.input_sizes)) for e in manifest.exits]
    ages, squared, truth, inside = list[Any](), list[Any](), list[int](), {1: 0, FRAMES: 0}
    for portrait in tqdm(portraits(root, names, count), total=count, leave=False):
        views = frames(portrait, FRAMES, rng)
        crops = np.concatenate(
            [crop_batch(v.image, [template.fit(predict(v.gray, v.box))], points[0].size) for v in views]
        )
        by_exit = [engine.read(p, crops) for p in points]
        ages.append([[r.age for r in exit_] for exit_ in by_exit])
        squared.append([[r.half**2 for r in exit_] for exit_ in by_exit])
        truth.append(portrait.sample.age)
        people = People(manifest.genders, manifest.expressions)
        for i in range(FRAMES):
            people.read(1, by_exit[rng.integers(len(points))][i], i, i / 5)
            if i + 1 in inside and (shown := people.estimate(1)):
                inside[i + 1] += shown.age_low <= portrait.sample.age <= shown.age_high
    a, s = np.array(ages), np.array(squared).mean(axis=(0, 2))
    frame = a.var(axis=2, ddof=1).mean(axis=0) / s
    mean = a.mean(axis=2)
    offset = (mean - mean[:, -1:]).var(axis=0) / s
    error = np.abs(mean - np.array(truth)[:, None]).mean(axis=0)
    print(f"{len(truth)} faces, {FRAMES} perturbed frames each; shares of the squared half interval")
    print(f"{'exit':<10}{'MAE of the mean':>16}{'half interval':>15}{'frame':>8}{'offset from the deepest':>25}")
    for i, point in enumerate(points):
        print(f"{point.exit:<10}{error[i]:>16.2f}{math.sqrt(s[i]):>15.2f}{frame[i]:>8.3f}{offset[i]:>25.3f}")
    shares = {n: k / len(truth) for n, k in inside.items()}
    print(
        "true ages inside the shown interval, exits at random: "
        + ", ".join(f"{100 * v:.0f} % after {n} frame{'s' * (n > 1)}" for n, v in shares.items())
    )
    return {
        "faces": len(truth),
        "exits": [p.exit for p in points],
        "frame": frame.tolist(),
        "offset": offset.tolist(),
        "inside": shares,
    }
