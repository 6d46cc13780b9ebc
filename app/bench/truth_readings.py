"""What every operating point says of held-out faces as cameras show them: numbers, no pixels.

A face of UTKFace tells age and gender, one of FER2013 tells the expression. Each is cut in every condition of CONDITIONS (how
near, how fast, how dark, turned away) a few times, with the slips of a live alignment, and read at every point. The truth
world (truth_crowd.py) puts people together from them. Which half of the faces is for tuning is fixed by their place.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from align.crop import crop_face
from align.geometry import to_pixels
from app.errors import ModelError, UsageError
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.data.sets.base import Report, Sample
    from models.manifest import Manifest

SCHEMA = 1
VIEWS = 3
# Of FER2013's pictures, by class: angry, disgust, fear, happy, neutral, sad, surprise; about as often as they are shown.
SHARES = (0.11, 0.06, 0.06, 0.21, 0.35, 0.1, 0.11)
# Of the crops, standard deviations: shift and size as shares of the crop, turn in degrees.
SHIFT, SIZE, TURN = 0.015, 0.02, 2.0
# A camera's own noise and its compression, in every condition.
SIGMA, QUALITY = 3.0, 85.0
# Somebody who looks past the camera by 35 degrees: their face is narrower by this factor.
TURNED = 0.82
BATCH = 64


class Condition(NamedTuple):
    """How a face is seen: its width in pixels, by how much it is smeared (% of its width), whether it is dark, turned."""

    width_px: float
    motion: float
    dark: bool
    turned: bool = False


NEAR, FAR = 90.0, 36.0
CONDITIONS = (
    *(Condition(*c) for c in product((NEAR, FAR), (0.0, 6.0, 14.0), (False, True))),
    Condition(NEAR, 0.0, dark=False, turned=True),
    Condition(NEAR, 0.0, dark=True, turned=True),
)
NUMBER = {condition: i for i, condition in enumerate(CONDITIONS)}


@dataclass(frozen=True, kw_only=True)
class Readings:
    """n faces of UTKFace and m of FER2013 in c conditions, v views, at p points."""

    model: str  # sha256 of the network
    points: tuple[OperatingPoint, ...]
    true_age: NDArray[np.int64]  # (n,) years
    true_gender: NDArray[np.int64]  # (n,) class
    age: NDArray[np.float32]  # (n, c, v, p) years
    half: NDArray[np.float32]  # (n, c, v, p) years, half of the 68 % interval
    gender: NDArray[np.float32]  # (n, c, v, p) probability of class 1
    true_expression: NDArray[np.int64]  # (m,) class
    expression: NDArray[np.float32]  # (m, c, v, p, 7)

    def save(self, path: Path) -> None:
        about = {"schema": SCHEMA, "model": self.model, "points": [p.to_json() for p in self.points]}
        numbers = {
            "true_age": self.true_age.astype(np.uint8),
            "true_gender": self.true_gender.astype(np.uint8),
            "age": self.age.astype(np.float16),
            "half": self.half.astype(np.float16),
            "gender": np.rint(self.gender * 255).astype(np.uint8),
            "true_expression": self.true_expression.astype(np.uint8),
            "expression": np.rint(self.expression * 255).astype(np.uint8),
        }
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(about)), **numbers)

    @classmethod
    def load(cls, path: Path) -> Readings:
        """Raises UsageError for a file that holds no readings."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["schema"] != SCHEMA:
                    raise UsageError(f"{path} was recorded by another version: record it again")
                scale = {"gender": 255, "expression": 255}
                names = ("age", "half", "gender", "expression")
                numbers = {name: file[name].astype(np.float32) / scale.get(name, 1) for name in names}
                labels = {k: file[k].astype(int) for k in ("true_age", "true_gender", "true_expression")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read as recorded readings: {error}") from error
        points = tuple(OperatingPoint.from_json(p) for p in about["points"])
        return cls(model=about["model"], points=points, **numbers, **labels)

    def half_of(self, judged: bool) -> Readings:
        """Every other face: those to tune by, or those to judge by."""
        one, other = slice(int(judged), None, 2), _every_other(self.true_expression, int(judged))
        mine = {k: getattr(self, k)[one] for k in ("true_age", "true_gender", "age", "half", "gender")}
        theirs = {k: getattr(self, k)[other] for k in ("true_expression", "expression")}
        return Readings(model=self.model, points=self.points, **mine, **theirs)


def _every_other(classes: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """Places of every other face of each class."""
    return np.sort(np.concatenate([np.flatnonzero(classes == c)[start::2] for c in np.unique(classes)]))


# --- recording -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Where the pictures are, and how many are taken."""

    utkface: Path
    fer2013: Path
    count: int
    names: Path | None = None  # of UTKFace: the held-out pictures; else they are worked out, as `prepare` does
    votes: Path | None = None  # FER+'s table, whose majority is then the label
    without: Path | None = None  # of FER2013's: pictures with a near twin in the training set


def record(manifest: Manifest, faces: Faces, points: Sequence[OperatingPoint]) -> Readings:
    """Cuts and reads every face in every condition. Raises ModelError."""
    from models.data.sets.base import DataError

    try:
        ages, expressions = held_out(faces), chosen_expressions(faces)
    except DataError as error:
        raise ModelError(str(error)) from error
    of_ages, known = _read_all(manifest, "utkface", ages, points)
    ages = [ages[i] for i in known]
    of_expressions, known = _read_all(manifest, "fer2013", expressions, points)
    expressions = [expressions[i] for i in known]
    return Readings(
        model=manifest.sha256,
        points=tuple(points),
        true_age=np.array([s.age for s in ages]),
        true_gender=np.array([s.gender for s in ages]),
        age=of_ages["age"],
        half=of_ages["half"],
        gender=of_ages["gender"],
        true_expression=np.array([expression_of(s) for s in expressions]),
        expression=of_expressions["expression"],
    )


def held_out(faces: Faces) -> list[Sample]:
    """Some of UTKFace's validation pictures, chosen by a hash of their names. Raises DataError."""
    from models.data.sets import utkface
    from models.data.views import held_out_of

    if faces.names:
        samples, _ = utkface.read_utkface(faces.utkface, faces.names.read_text(encoding="utf-8").splitlines())
    else:
        dataset = utkface.read(faces.utkface)
        samples = [s for s, held in zip(dataset.samples, held_out_of(dataset), strict=True) if held]
    return sorted(samples, key=_by_name)[: faces.count]


def chosen_expressions(faces: Faces) -> list[Sample]:
    """About as many of FER2013's validation pictures, of each class by its share. Raises DataError."""
    from models.data.sets import ferplus
    from models.data.sets.base import leave_out
    from models.data.sets.fer2013 import read_fer2013

    samples, report = read_fer2013(faces.fer2013, "validation")
    if faces.without:
        samples = leave_out(samples, report, faces.without)
    if faces.votes:
        voted = ferplus.with_votes(samples, report, faces.votes)
        samples = [s for s in voted if 0 <= ferplus.majority(s.votes) < len(SHARES)]
    samples = sorted(samples, key=_by_name)
    chosen = []
    for c, share in enumerate(SHARES):
        chosen += [s for s in samples if expression_of(s) == c][: math.ceil(faces.count * share)]
    return chosen


def expression_of(sample: Sample) -> int:
    from models.data.sets import ferplus

    return int(ferplus.majority(sample.votes)) if sample.votes else sample.expression


def _by_name(sample: Sample) -> int:
    return zlib.crc32(sample.path.name.encode())


def seen(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], condition: Condition, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A BGR picture with its 2x3 matrix into the unit square, as a camera shows it: RGB, and where the crop then lies."""
    from models.data.spoil import KINDS
    from models.judging.spoilt import at_width

    picture, matrix = at_width(image, matrix, condition.width_px)
    if condition.turned:
        h, w = picture.shape[:2]
        squeeze = np.array([[TURNED, 0, w * (1 - TURNED) / 2], [0, 1, 0]])
        picture = cv2.warpAffine(picture, squeeze, (w, h), borderMode=cv2.BORDER_REFLECT_101)
    width = condition.width_px
    if condition.motion:
        picture = KINDS["motion"].spoil(picture, condition.motion, width, rng)
    if condition.dark:
        picture = KINDS["dark, noise"].spoil(picture, 45, width, rng)
    picture = KINDS["noise"].spoil(picture, SIGMA, width, rng)
    return KINDS["jpeg"].spoil(picture, QUALITY, width, rng), slipped(matrix, rng)


def slipped(matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A crop that is a little off, as a live alignment is."""
    turn, size = math.radians(rng.normal(0, TURN)), math.exp(rng.normal(0, SIZE))
    cos, sin = size * math.cos(turn), size * math.sin(turn)
    x, y = rng.normal(0, SHIFT, 2)
    about = np.array([[cos, -sin, 0.5 + x - 0.5 * (cos - sin)], [sin, cos, 0.5 + y - 0.5 * (sin + cos)], [0, 0, 1]])
    return (about @ np.vstack([matrix, [0, 0, 1]]))[:2]


def _read_all(
    manifest: Manifest, dataset: str, samples: Sequence[Sample], points: Sequence[OperatingPoint]
) -> tuple[dict[str, NDArray[np.float32]], list[int]]:
    """(n, c, v, p) of each figure, and which samples could be used."""
    from tqdm import tqdm

    from models.data.sets.base import Report
    from models.judging.evaluate import Cropper, sessions_of

    sizes = sorted({p.size for p in points})
    report: Report = Report()
    place = Cropper(dataset, manifest, sizes, True, report).place
    sessions = sessions_of(manifest, sizes)
    rows: dict[str, list[Any]] = {k: [] for k in ("age", "half", "gender", "expression")}
    known = list[int]()
    for i, sample in enumerate(tqdm(samples, desc=dataset, leave=False)):
        placed = place(sample)
        if placed is None:
            continue
        known.append(i)
        rng = np.random.default_rng(_by_name(sample))
        pictures = [seen(*placed, c, rng) for c in CONDITIONS for _ in range(VIEWS)]
        crops = {s: np.stack([crop_face(p, to_pixels(m, s), s) for p, m in pictures]) for s in sizes}
        figures = _read_face(manifest, sessions, crops, points)
        for key, values in figures.items():
            rows[key].append(values.reshape(len(CONDITIONS), VIEWS, *values.shape[1:]))
    if not known:
        raise ModelError(f"none of the pictures of {dataset} could be used")
    return {key: np.array(values, np.float32) for key, values in rows.items()}, known


def _read_face(
    manifest: Manifest, sessions: dict[int, Any], crops: dict[int, NDArray[np.uint8]], points: Sequence[OperatingPoint]
) -> dict[str, NDArray[Any]]:
    """(k, p) of age, half and gender, (k, p, 7) of expression, for k crops of one face."""
    from app.network.engine import Outputs, readings
    from models.judging.evaluate import HEADS, read_batch

    said = {size: read_batch(sessions[size], manifest, size, crops[size]) for size in crops}
    columns = []
    for point in points:
        outputs = Outputs(*(said[point.size][f"{point.exit}.{head}"] for head in HEADS))
        columns.append(readings(manifest, point, outputs))
    return {
        "age": np.array([[r.age for r in column] for column in columns]).T,
        "half": np.array([[r.half for r in column] for column in columns]).T,
        "gender": np.array([[r.gender[1] for r in column] for column in columns]).T,
        "expression": np.array([[r.expression for r in column] for column in columns]).transpose(1, 0, 2),
    }
