"""`bench following`: the follower against its teacher on pictures that it was not trained on, and on clips.

Errors are mean distances of the 47 points to the teacher's averaged answer (models/data/taught.py), in eye distances. Crops
start astray by normal deviates: `between frames` by what the clips' people move by, measured here where clips are given.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from align.geometry import apply_similarity, eye_distance
from align.landmarks import face_box
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from align.geometry import Points
    from app.faces.follower import Follower, Place
    from app.settings import Settings

    Gray = NDArray[np.uint8]

BORDER = 100  # pixels of mirrored surroundings of a 200 px picture
# Standard deviations of shift (shares of the box), logarithm of the size, and turn (degrees).
STRAYS = {
    "in place": (0.0, 0.0, 0.0),
    "between frames": (0.05, 0.03, 2.0),
    "4.5 %, 7 %, 7 deg": (0.045, 0.07, 7.0),
    "far: 12 %, 18 %, 20 deg": (0.12, 0.18, 20.0),
}
DRIFT_ROUNDS, COVERED_FRAMES = 200, 10
TILTS_DEG, LAG_DEG = (30, 60), 10.0
BATCHES, TIMED_ROUNDS = (1, 12, 40), 60


def bench_following(
    utkface: Path | None, count: int, clips: Sequence[Path], settings: Settings, out: Path | None
) -> int:
    """Raises UsageError and ModelError."""
    if not utkface and not clips:
        raise UsageError("give --utkface DIR, for errors, or --clips FILE ..., for movement and jitter, or both")
    if not 10 <= count <= 5000:
        raise UsageError(f"--count must be from 10 to 5000, got {count}")
    if out:
        check_writable(out)
    from app.bench.movement import watch_clip
    from app.faces.follower import Follower

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        report: dict[str, Any] = {"clips": [watch_clip(path, settings) for path in clips]}
        if utkface:
            report |= _pictures(utkface, count, Follower(), settings)
        report["times_ms"] = _times(Follower())
    finally:
        cv2.setNumThreads(threads)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


# --- pictures ----------------------------------------------------------------------------------------------------------


def _pictures(root: Path, count: int, follow: Follower, settings: Settings) -> dict[str, Any]:
    held_out = held_out_faces(root, count)
    faces = [(one.gray, one.landmarks) for one in held_out]
    print(f"{len(faces)} held-out pictures; error in eye distances: mean (median, 90 % below)")
    errors: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    for gray, truth in faces:
        for name, value in _errors(follow, gray, truth, rng):
            errors.setdefault(name, []).append(value)
    for name, values in errors.items():
        print(f"  {name:<38}{np.mean(values):.4f} ({np.median(values):.4f}, {np.quantile(values, 0.9):.4f})")
    shares = _presence(follow, faces, rng)
    for name, share in shares.items():
        print(f"  {name:<60}{share:.1%}" if "share" in name else f"  {name:<60}{share:.1f}")
    return {
        "pictures": len(faces),
        "errors": {n: {"mean": float(np.mean(v)), "p90": float(np.quantile(v, 0.9))} for n, v in errors.items()},
        "presence": shares,
        "ages": _ages(follow, held_out, settings, rng),
    }


class HeldOut(NamedTuple):
    """A picture that `prepare` holds out, with mirrored surroundings, and the teacher's landmarks in it."""

    image: NDArray[np.uint8]  # BGR
    gray: Gray
    landmarks: Points
    age: int


def held_out_faces(root: Path, count: int) -> list[HeldOut]:
    from align.landmarks import LandmarkModelError
    from models.data.sets import utkface
    from models.data.sets.base import DataError
    from models.data.taught import MAX_SPREAD, Teacher
    from models.data.views import held_out_of

    try:
        dataset = utkface.read(root)
        teacher = Teacher(dataset.placing)
    except (DataError, LandmarkModelError) as error:
        raise ModelError(str(error)) from error
    samples = [s for s, held in zip(dataset.samples, held_out_of(dataset), strict=True) if held]
    out: list[HeldOut] = []
    rng = np.random.default_rng(1)
    for sample in sorted(samples, key=lambda s: hashlib.sha256(s.path.name.encode()).hexdigest()):
        picture = cv2.imread(str(sample.path))
        if picture is None or picture.shape[0] != picture.shape[1]:
            continue
        picture = cv2.resize(picture, (200, 200), interpolation=cv2.INTER_AREA)
        points, spread = teacher(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8), rng)
        if spread <= MAX_SPREAD:
            padded = np.asarray(cv2.copyMakeBorder(picture, *[BORDER] * 4, cv2.BORDER_REFLECT_101), np.uint8)
            gray = np.asarray(cv2.cvtColor(padded, cv2.COLOR_BGR2GRAY), np.uint8)
            out.append(HeldOut(padded, gray, points + BORDER, sample.age))
        if len(out) == count:
            break
    return out


def _ages(follow: Follower, faces: Sequence[HeldOut], settings: Settings, rng: np.random.Generator) -> dict[str, Any]:
    """The age's error through the follower's landmarks and through the teacher's, picture by picture."""
    from align.crop import crop_batch
    from align.geometry import Template
    from app.compose import load_manifest
    from app.network.onnx_cpu import CpuEngine
    from models.judging.metrics import bootstrap_interval

    manifest = load_manifest(settings.model)
    engine, fit = CpuEngine(manifest, exits=[manifest.exits[-1].name]), Template(manifest.template).fit
    point = max(engine.points)
    errors = []
    for one in faces:
        (found,) = follow(one.gray, [astray(one.landmarks, rng, *STRAYS["between frames"])])
        crops = crop_batch(one.image, [fit(found.landmarks), fit(one.landmarks)], point.size)
        errors.append([abs(reading.age - one.age) for reading in engine.read(point, crops)])
    ours, teachers = np.array(errors).T
    low, high = bootstrap_interval(ours - teachers)
    print(
        f"  age MAE at {point}: {ours.mean():.3f} years by the follower, {teachers.mean():.3f} by the teacher, difference "
        f"{(ours - teachers).mean():+.3f} ({low:+.3f} to {high:+.3f})"
    )
    return {"ours": float(ours.mean()), "teacher": float(teachers.mean()), "difference_95": [float(low), float(high)]}


def astray(truth: Points, rng: np.random.Generator, shift: float, zoom: float, turn_deg: float) -> Place:
    """A face's place, off by normal deviates."""
    from app.domain import Box
    from app.faces.follower import Place

    (x, y, w, h), roll = face_box(truth)
    k = math.exp(rng.normal(0, zoom))
    cx, cy = np.array([x + w / 2, y + h / 2]) + rng.normal(0, shift, 2) * w
    return Place(Box(cx - w * k / 2, cy - h * k / 2, w * k, h * k), roll + math.radians(rng.normal(0, turn_deg)))


def spoilt(gray: Gray, truth: Points, rng: np.random.Generator) -> dict[str, tuple[Gray, Points]]:
    """The picture as cameras show it, its face 60 px wide."""
    scale = 60 / face_box(truth)[0][2]
    small = np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    points = (truth + 0.5) * scale - 0.5
    dark = small * 0.25 + rng.normal(0, 6, small.shape)
    _, code = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 12])
    tiny = cv2.resize(small, None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
    pictures = {
        "60 px": small,
        "60 px, noise 20": small + rng.normal(0, 20, small.shape),
        "60 px, dark": dark,
        "60 px, motion blur 7 px": cv2.filter2D(small, -1, np.full((1, 7), 1 / 7)),
        "60 px, JPEG 12": cv2.imdecode(code, cv2.IMREAD_GRAYSCALE),
    }
    out = {name: (np.clip(p, 0, 255).astype(np.uint8), points) for name, p in pictures.items()}
    return out | {"20 px": (np.asarray(tiny, np.uint8), (points + 0.5) / 3 - 0.5)}


def _errors(follow: Follower, gray: Gray, truth: Points, rng: np.random.Generator) -> Any:
    """Names and errors of one picture."""
    for name, sizes in STRAYS.items():
        place = astray(truth, rng, *sizes)
        for rounds, found in (("one round", follow(gray, [place], 1)), ("two", follow(gray, [place]))):
            yield f"{name}, {rounds}", distance(found[0].landmarks, truth)
    for name, (picture, points) in spoilt(gray, truth, rng).items():
        (found,) = follow(picture, [astray(points, rng, *STRAYS["between frames"])])
        yield name, distance(found.landmarks, points)
    for tilt in TILTS_DEG:
        matrix = cv2.getRotationMatrix2D((gray.shape[1] / 2, gray.shape[0] / 2), -tilt, 1.0)
        turned = cv2.warpAffine(gray, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REFLECT_101)
        points = apply_similarity(matrix, truth)
        place = astray(points, rng, 0.02, 0.02, 0.0)
        (found,) = follow(np.asarray(turned, np.uint8), [place._replace(roll=place.roll - math.radians(LAG_DEG))])
        yield f"tilted by {tilt} degrees", distance(found.landmarks, points)
    (first,) = follow(gray, [astray(truth, rng, *STRAYS["between frames"])])
    last = first
    for _ in range(DRIFT_ROUNDS if len(gray) and rng.random() < 0.25 else 0):
        noisy = np.clip(gray + rng.normal(0, 5, gray.shape), 0, 255).astype(np.uint8)
        (last,) = follow(noisy, [last.place])
    if last is not first:
        yield f"after {DRIFT_ROUNDS} frames, each from the last", distance(last.landmarks, truth)


def distance(found: Points, truth: Points) -> float:
    return float(np.hypot(*(found - truth).T).mean() / eye_distance(truth))


def _presence(follow: Follower, faces: Sequence[tuple[Gray, Points]], rng: np.random.Generator) -> dict[str, float]:
    """Shares of faces held and let go, and how soon."""
    from app.faces.front_end import HOLD

    held, covered, gone = 0, 0, list[int]()
    for k, (gray, truth) in enumerate(faces):
        (now,) = follow(gray, [astray(truth, rng, *STRAYS["between frames"])])
        held += now.presence >= HOLD
        one, still = now, True
        for _ in range(COVERED_FRAMES):
            (one,) = follow(half_covered(gray, truth, k), [one.place])
            still &= one.presence >= HOLD
        covered += still
        other, one = moved_away(gray, truth, k), now
        for frame in range(1, 11):
            (one,) = follow(other, [one.place])
            if one.presence < HOLD:
                gone.append(frame)
                break
    n = len(faces)
    return {
        "share of faces held": held / n,
        f"share held through {COVERED_FRAMES} frames in which two fifths are covered": covered / n,
        "share let go within 3 frames of being gone": sum(g <= 3 for g in gone) / n,
        "frames until half of those gone are let go": float(np.median(gone)) if gone else math.inf,
    }


def moved_away(gray: Gray, truth: Points, k: int) -> Gray:
    """The picture moved by one and a half widths of the face to one of four sides, its borders drawn on."""
    _, _, w, _ = face_box(truth)[0]
    inside = gray[BORDER:-BORDER, BORDER:-BORDER]
    angle = k % 4 * math.pi / 2
    x, y = BORDER + 1.5 * w * math.cos(angle), BORDER + 1.5 * w * math.sin(angle)
    matrix = np.array([[1, 0, x], [0, 1, y]])
    out = cv2.warpAffine(inside, matrix, gray.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def half_covered(gray: Gray, truth: Points, k: int) -> Gray:
    """Two fifths of the face's box under grey, from one of four sides."""
    (x, y, w, h), _ = face_box(truth)
    out, part = gray.copy(), 0.4
    x0, y0, x1, y1 = round(x), round(y), round(x + w), round(y + h)
    if k % 4 == 0:
        x1 = round(x + part * w)
    elif k % 4 == 1:
        x0 = round(x + (1 - part) * w)
    elif k % 4 == 2:
        y1 = round(y + part * h)
    else:
        y0 = round(y + (1 - part) * h)
    out[max(0, y0) : y1, max(0, x0) : x1] = 110
    return out


def _times(follow: Follower) -> dict[str, float]:
    """Milliseconds a face in a batch, one thread, cutting the crops included; the best of the rounds, as timeit has it."""
    from app.domain import Box
    from app.faces.follower import Place
    from app.sources.figures import FACE, load_figures

    gray = cv2.cvtColor(load_figures()[0].image, cv2.COLOR_BGR2GRAY)
    times = {}
    for size in BATCHES:
        places = [Place(Box(FACE.x - 5 + i % 7, FACE.y - 4 + i % 5, 100, 100)) for i in range(size)]
        taken = []
        for _ in range(TIMED_ROUNDS):
            began = time.perf_counter()
            follow(gray, places, 1)
            taken.append((time.perf_counter() - began) * 1e3 / size)
        times[str(size)] = min(taken)
    print("ms a face, one thread: " + ", ".join(f"{ms:.3f} in a batch of {size}" for size, ms in times.items()))
    return times
