"""`bench engines`: every engine that this machine has, side by side: time of each operating point, and its error on faces.

All are loaded at once and measured as `calibrate` measures: in turn, in an order drawn anew for each round, cropping
included. So a slow moment of the machine hits all alike, and ratios hold where milliseconds do not.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from app.network.engine import Engine
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint, Profile

FACES = (1, 2, 4, 8, 16)
BATCH = 16


def bench_engines(
    model: str,
    rounds: int,
    cpu_time: bool,
    utkface: Path | None,
    names: Path | None,
    count: int,
    json_path: Path | None,
) -> int:
    """`cpu_time`: on one thread, by the processor's time, which other programs hardly make longer. Raises UsageError for what
    makes no sense, DeviceError where there is no second engine."""
    if not 2 <= rounds <= 1000:
        raise UsageError(f"--rounds must be from 2 to 1000, got {rounds}")
    if json_path:
        check_writable(json_path)
    from app.compose import load_manifest
    from app.network.calibrate import calibrate, candidates
    from app.network.open import open_engine
    from app.network.probe import probe_of
    from app.network.profiles import machine

    manifest = load_manifest(model)
    engine = open_engine(manifest, "openvino", 1 if cpu_time else None, points=candidates(manifest))
    what = "processor time, " if cpu_time else ""
    print(f"{manifest.name} on {engine.provider}, threads: {engine.threads}; {what}medians of {rounds} rounds in turn")
    clock, probe = (time.process_time, lambda: 0.0) if cpu_time else (time.perf_counter, probe_of(engine))
    profile = calibrate(engine, manifest, clock=clock, rounds=rounds, max_s=float("inf"), probe=probe)
    errors = judged(engine, manifest, utkface, names, count) if utkface else {}
    rows = list(rows_of(profile, engine.points, errors))
    for line in table(rows):
        print(line)
    chosen = [str(p) for p in profile.front]
    print(f"front of all of them, cheapest first: {', '.join(chosen)}")
    if json_path:
        report = {"machine": machine(), "model": manifest.name, "provider": engine.provider, "threads": engine.threads}
        report |= {
            "clock": "processor" if cpu_time else "wall",
            "rounds": rounds,
            "rows": rows,
            "front": chosen,
            "profile": profile.to_json(),
        }
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def judged(
    engine: Engine, manifest: Manifest, root: Path, names: Path | None, count: int
) -> dict[OperatingPoint, tuple[float, float]]:
    """Each point's mean absolute error of the age, and mean distance from what ONNX Runtime says of the same faces, years."""
    from tqdm import tqdm

    from align.crop import crop_batch
    from align.geometry import Template
    from align.landmarks import LandmarkPredictor
    from app.bench.face_views import portraits, view

    predict, template = LandmarkPredictor(), Template(manifest.template)
    sizes = sorted({p.size for p in engine.points})
    crops: dict[int, list[NDArray[np.uint8]]] = {size: [] for size in sizes}
    truth = []
    for portrait in tqdm(portraits(root, names, count), total=count, leave=False):
        seen = view(portrait)
        matrix = template.fit(predict(seen.gray, seen.box))
        for size in sizes:
            crops[size].append(crop_batch(seen.image, [matrix], size)[0])
        truth.append(portrait.sample.age)
    if not truth:
        raise UsageError(f"--utkface {root}: no face was found in its pictures")
    ages = {p: np.array(list(_ages(engine, p, np.stack(crops[p.size])))) for p in engine.points}
    print(f"errors over {len(truth)} faces")
    return {
        p: (
            float(np.abs(said - np.array(truth)).mean()),
            float(np.abs(said - ages[p._replace(engine="")]).mean()),
        )
        for p, said in ages.items()
    }


def _ages(engine: Engine, point: OperatingPoint, faces: NDArray[np.uint8]) -> Iterator[float]:
    for i in range(0, len(faces), BATCH):
        yield from (reading.age for reading in engine.read(point, faces[i : i + BATCH]))


def rows_of(
    profile: Profile, points: Sequence[OperatingPoint], errors: dict[OperatingPoint, tuple[float, float]]
) -> Iterator[dict[str, Any]]:
    """Each exit and size by each engine: milliseconds, the ratio to ONNX Runtime's, and errors where faces were given."""
    for plain in sorted((p for p in points if not p.engine), key=profile.cost):
        for point in (p for p in points if p[:2] == plain[:2]):
            ms = {n: profile.median_ms(point, n) for n in FACES}
            ratio = {n: ms[n] / profile.median_ms(plain, n) for n in FACES}
            row: dict[str, Any] = {"point": str(point), "ms": ms, "ratio": ratio}
            if point in errors:
                row |= dict(zip(("mae", "apart"), errors[point], strict=True))
            yield row


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Milliseconds of ONNX Runtime, and of the others how many times as long."""
    yield f"{'operating point':<32}" + "".join(f"{f'{n} faces':>10}" for n in FACES) + f"{'MAE':>8}{'apart':>8}"
    for row in rows:
        plain = "/" not in row["point"]
        times = "".join(f"{row['ms'][n]:>7.2f} ms" if plain else f"{row['ratio'][n]:>9.2f}x" for n in FACES)
        judged = f"{row['mae']:>8.2f}{row['apart']:>8.3f}" if "mae" in row else ""
        yield f"{row['point']:<32}{times}{judged}"
    for engine in dict.fromkeys(r["point"].split("/")[0] for r in rows if "/" in r["point"]):
        mine = [r for r in rows if r["point"].startswith(f"{engine}/")]
        ratios = ", ".join(f"{np.exp(np.mean([np.log(r['ratio'][n]) for r in mine])):.2f}" for n in FACES)
        yield f"{engine} over ONNX Runtime, geometric mean of all points: {ratios} at {', '.join(map(str, FACES))} faces"
