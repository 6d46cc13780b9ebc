"""`bench alignment`: what tilt, turn, the frame's edge and size do to landmarks and to the age, and what the limits refuse.

Pictures of UTKFace are turned, cut off and shrunk (face_views.py); the follower starts from where a tracker would expect the
face, for tilted heads with the roll that was known 10 degrees before. "held" is how many it says there is a face in. How far
heads are turned (yaw) is as the pictures have it, by our landmarks.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from pathlib import Path

    from app.bench.face_views import Portrait, View

LAG = 10.0  # degrees that a head has turned since its roll was last known
ROLLS, CUTS, SIDES = (0, 10, 20, 30, 45, 60), (0.1, 0.2, 0.3, 0.4, 0.5), (96, 64, 48, 40, 32, 24, 20, 16, 12)
MISFITS = (0, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 1.0)
YAWS = (0, 10, 20, 30, 45, 180)
TITLES = {"misfits": "misfit, all of these", "yaws": "yaw either way, upright"}


def bench_alignment(root: Path | None, names: Path | None, count: int, model: str, json_path: Path | None) -> int:
    """Raises UsageError and ModelError."""
    if not root:
        raise UsageError("give --utkface DIR, the folder of UTKFace's pictures")
    if not 10 <= count <= 20_000:
        raise UsageError(f"--count must be from 10 to 20000, got {count}")
    if json_path:
        check_writable(json_path)
    rows, tables = _measure(root, names, count, model)
    print(
        f"{'change':<14}{'age MAE':>9}{'half interval':>15}{'misfit p50, p90':>18}{'held':>8}{'read':>7}"
        f"{'MAE of those':>14}"
    )
    for row in rows:
        print(
            f"{row['change']:<14}{row['mae']:>9.2f}{row['half']:>15.2f}{row['misfit_p50']:>12.3f}, {row['misfit_p90']:.3f}"
            f"{100 * row['held']:>6.0f} %{100 * row['read']:>5.0f} %{row['mae_read']:>14.2f}"
        )
    for what, table in tables.items():
        print(
            f"{TITLES[what]:<24}{'faces':>9}{'age MAE':>10}{'half interval':>15}{'misfit p50, p90':>18}{'refused':>10}"
        )
        for row in table:
            print(
                f"{row['from']:>5g} to {row['to']:<15g}{row['faces']:>9}{row['mae']:>10.2f}{row['half']:>15.2f}"
                f"{row['misfit_p50']:>11.3f}, {row['misfit_p90']:.3f}{100 * row['refused']:>8.1f} %"
            )
    if json_path:
        json_path.write_text(json.dumps({"changes": rows} | tables, indent=1) + "\n", encoding="utf-8")
    return 0


def changes(portrait: Portrait, side: float) -> dict[str, View]:
    """Every view that is tried of a portrait whose upright crop is `side` pixels wide at the usual scale."""
    from app.bench.face_views import CANVAS, USUAL_SCALE, view

    views = {f"roll {roll}": view(portrait, roll=roll) for roll in ROLLS}
    # The crop reaches side / 2 to the left of the face's centre.
    views |= {f"cut {cut:.0%}": view(portrait, at=(side * (0.5 - cut) - CANVAS / 2, 0)) for cut in CUTS}
    return views | {f"crop {px} px": view(portrait, scale=USUAL_SCALE * px / side) for px in SIDES}


def _measure(
    root: Path, names: Path | None, count: int, model: str
) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """A row for each change, and the tables named in TITLES."""
    from tqdm import tqdm

    from align.crop import crop_batch
    from align.fitness import crop_side, unfit, yaw
    from align.geometry import Template, residual
    from align.landmarks import LandmarkPredictor
    from app.bench.face_views import portraits, view
    from app.compose import load_manifest
    from app.faces.follower import Follower, Place
    from app.faces.front_end import HOLD
    from app.network.onnx_cpu import CpuEngine

    manifest = load_manifest(model)
    predict, follow, template = LandmarkPredictor(), Follower(), Template(manifest.template)
    engine = CpuEngine(manifest, exits=[manifest.exits[-1].name])
    point = max(engine.points)
    seen: dict[str, list[tuple[float, ...]]] = {}
    for portrait in tqdm(portraits(root, names, count), total=count, leave=False):
        upright = view(portrait)
        side = crop_side(template.fit(predict(upright.gray, upright.box)))
        views = changes(portrait, side)
        crops, fits = [], []
        for name, tried in views.items():
            # OpenCV turns counterclockwise.
            tilt = LAG - float(name.split()[1]) if name.startswith("roll") and name > "roll 10" else 0.0
            (followed,) = follow(tried.gray, [Place(tried.box, math.radians(tilt))])
            points = followed.landmarks
            matrix = template.fit(points)
            misfit = residual(matrix, points, template.array)
            refused = unfit(matrix, misfit, tried.gray.shape[1], tried.gray.shape[0])
            crops.append(crop_batch(tried.image, [matrix], point.size))
            fits.append((misfit, not refused, abs(yaw(points)), followed.presence >= HOLD))
        for name, fit, reading in zip(views, fits, engine.read(point, np.concatenate(crops)), strict=True):
            seen.setdefault(name, []).append((abs(reading.age - portrait.sample.age), reading.half, *fit))
    tables = {name: np.array(values, float) for name, values in seen.items()}
    everything, upright_ones = np.concatenate(list(tables.values())), tables["roll 0"]
    return [_row(name, values) for name, values in tables.items()], {
        "misfits": _by(MISFITS, everything[:, 2], everything),
        "yaws": _by(YAWS, upright_ones[:, 4], upright_ones),
    }


def _row(name: str, values: Any) -> dict[str, Any]:
    error, half, misfit, read, _, held = values.T
    return {
        "change": name,
        "faces": len(values),
        "mae": float(error.mean()),
        "half": float(half.mean()),
        "misfit_p50": float(np.median(misfit)),
        "misfit_p90": float(np.quantile(misfit, 0.9)),
        "held": float(held.mean()),
        "read": float(read.mean()),
        "mae_read": float(error[read > 0].mean()) if read.any() else float("nan"),
    }


def _by(edges: tuple[float, ...], measure: Any, values: Any) -> list[dict[str, Any]]:
    """The error of the faces between each two edges, where there are five or more."""
    out = []
    for low, high in pairwise(edges):
        inside = (measure >= low) & (measure < high)
        if inside.sum() >= 5:
            error, half, misfit, read = values[inside, :4].T
            out.append(
                {
                    "from": low,
                    "to": high,
                    "faces": int(inside.sum()),
                    "mae": float(error.mean()),
                    "half": float(half.mean()),
                    "misfit_p50": float(np.median(misfit)),
                    "misfit_p90": float(np.quantile(misfit, 0.9)),
                    "refused": 1 - float(read.mean()),
                }
            )
    return out
