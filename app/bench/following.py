"""`bench following`: the follower against its teacher on pictures that it was not trained on, and on clips.

Errors are mean distances of the 47 points to the teacher's averaged answer (models/data/taught.py), in eye distances. Crops
start astray by normal deviates: `between frames` by what the clips' people move by, measured here where clips are given.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from typing import TYPE_CHECKING, Any

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
STILL = 0.02  # a head whose box moves by less than this share a frame, on average


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
    from app.faces.follower import Follower

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        report: dict[str, Any] = {"clips": [_clip(path, settings) for path in clips]}
        if utkface:
            report |= _pictures(utkface, count, Follower())
        report["times_ms"] = _times(Follower())
    finally:
        cv2.setNumThreads(threads)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


# --- pictures ----------------------------------------------------------------------------------------------------------


def _pictures(root: Path, count: int, follow: Follower) -> dict[str, Any]:
    faces = held_out_faces(root, count)
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
    }


def held_out_faces(root: Path, count: int) -> list[tuple[Gray, Points]]:
    """Pictures that `prepare` holds out, with mirrored surroundings, and the teacher's landmarks in them."""
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
    paths = [s.path for s, held in zip(dataset.samples, held_out_of(dataset), strict=True) if held]
    out: list[tuple[Gray, Points]] = []
    rng = np.random.default_rng(1)
    for path in sorted(paths, key=lambda p: hashlib.sha256(p.name.encode()).hexdigest()):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if gray is None or gray.shape[0] != gray.shape[1]:
            continue
        gray = np.asarray(cv2.resize(gray, (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
        points, spread = teacher(gray, rng)
        if spread <= MAX_SPREAD:
            padded = cv2.copyMakeBorder(gray, *[BORDER] * 4, cv2.BORDER_REFLECT_101)
            out.append((np.asarray(padded, np.uint8), points + BORDER))
        if len(out) == count:
            break
    return out


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
    from skimage.data import astronaut

    from app.domain import Box
    from app.faces.follower import Place

    gray = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)
    times = {}
    for size in BATCHES:
        places = [Place(Box(170 + i % 7, 60 + i % 5, 100, 100)) for i in range(size)]
        taken = []
        for _ in range(TIMED_ROUNDS):
            began = time.perf_counter()
            follow(gray, places, 1)
            taken.append((time.perf_counter() - began) * 1e3 / size)
        times[str(size)] = min(taken)
    print("ms a face, one thread: " + ", ".join(f"{ms:.3f} in a batch of {size}" for size, ms in times.items()))
    return times


# --- clips -------------------------------------------------------------------------------------------------------------


def _clip(path: Path, settings: Settings) -> dict[str, Any]:
    """By how much people move between frames, and by how much the crop of a head that keeps still trembles."""
    moved: list[tuple[float, float, float]] = []
    trembles: dict[str, list[float]] = {}
    for name, watch in (("by the follower", _followed), ("by the trees", _by_trees)):
        people = watch(path, settings)
        for matrices in people.values():
            if name == "by the follower":
                moved += movements(matrices)
            if (jitter := tremble(matrices)) is not None:
                trembles.setdefault(name, []).append(jitter)
    shift, size, turn = (np.array(moved).reshape(-1, 3)).std(axis=0) if moved else (math.nan,) * 3
    print(
        f"{path.name}: between frames, standard deviations over {len(moved)} steps: shift {shift:.1%} of the box a direction, "
        f"size {size:.1%}, turn {turn:.1f} degrees; tremble of still heads, px of a 96 px crop: "
        + ", ".join(f"{np.median(v):.2f} {name} ({len(v)} people)" for name, v in trembles.items())
    )
    return {
        "name": path.name,
        "movement": [float(shift), float(size), float(turn)],
        "tremble_px": {k: float(np.median(v)) for k, v in trembles.items()},
    }


def _followed(path: Path, settings: Settings) -> dict[int, list[tuple[int, Any]]]:
    """Everybody's crops, with the frame's number."""
    from app.compose import load_manifest, make_front_end
    from app.sources.open import open_source

    front_end = make_front_end(settings, load_manifest(settings.model).template, live=False)
    people: dict[int, list[tuple[int, Any]]] = {}
    for frame in open_source(str(path)):
        for face in front_end(frame).faces:
            people.setdefault(face.person, []).append((frame.id, face.matrix))
    return people


def _by_trees(path: Path, settings: Settings) -> dict[int, list[tuple[int, Any]]]:
    """The same people by Viola-Jones' box and the landmarks of regression trees, where it finds them."""
    from align.geometry import Template
    from align.landmarks import LandmarkPredictor
    from app.compose import load_manifest, make_front_end
    from app.faces.detector import same_place
    from app.faces.search import Search
    from app.faces.viola_jones import ViolaJones
    from app.sources.open import open_source

    template = load_manifest(settings.model).template
    front_end, fit, predict = (
        make_front_end(settings, template, live=False),
        Template(template).fit,
        LandmarkPredictor(),
    )
    search = Search(ViolaJones(1.1, 3), 24.0, every_frame=True)
    people: dict[int, list[tuple[int, Any]]] = {}
    for frame in open_source(str(path)):
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
        boxes = [s.box for s in search(frame.image, gray, frame.time_s, [])]
        for face in front_end(frame).faces:
            if near := next((b for b in boxes if same_place(b, face.box)), None):
                people.setdefault(face.person, []).append((frame.id, fit(predict(gray, near))))
    return people


def _steps(matrices: Sequence[tuple[int, Any]]) -> list[tuple[Any, Any]]:
    """Crops of successive frames."""
    pairs = itertools.pairwise(matrices)
    return [(a, b) for (i, a), (j, b) in pairs if j == i + 1]


def movements(matrices: Sequence[tuple[int, Any]]) -> list[tuple[float, float, float]]:
    """Shift along x (share of the crop), logarithm of the size's ratio and turn in degrees, from frame to frame; x and y count
    as two steps."""
    out = []
    for a, b in _steps(matrices):
        step = np.vstack([b, [0, 0, 1]]) @ np.linalg.inv(np.vstack([a, [0, 0, 1]]))
        moved = step[:2, :2] @ [0.5, 0.5] + step[:2, 2] - 0.5
        size, turn = math.log(math.hypot(step[0, 0], step[1, 0])), math.degrees(math.atan2(step[1, 0], step[0, 0]))
        out += [(float(moved[0]), size, turn), (float(moved[1]), size, turn)]
    return out


def tremble(matrices: Sequence[tuple[int, Any]]) -> float | None:
    """By how much the crop's corners jump about their own path, px of a 96 px crop: root mean square of the second difference
    over the square root of 6, which for white noise is its standard deviation. None for a head that moves, or is seen for
    less than 20 frames."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)
    if len(matrices) < 20 or np.std([m[0] for m in movements(matrices)]) > STILL:
        return None
    paths = []
    middle = np.linalg.inv(np.vstack([matrices[len(matrices) // 2][1], [0, 0, 1]]))
    for _, matrix in matrices:
        step = np.vstack([matrix, [0, 0, 1]]) @ middle
        paths.append(corners @ step[:2, :2].T + step[:2, 2])
    frames = np.array([i for i, _ in matrices])
    path = np.array(paths) * 96
    second = path[2:] - 2 * path[1:-1] + path[:-2]
    together = (frames[2:] - frames[:-2]) == 2
    return float(np.sqrt((second[together] ** 2).sum(axis=-1).mean() / 6))
