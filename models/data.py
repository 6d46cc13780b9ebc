"""Face data sets: reading their labels, aligning their faces once, and cutting training batches from the result.

`prepare` runs the training-time detector and the landmark predictor over every picture and stores, per data set, one
array of aligned uint8 views that are wider than the network's crop, so that training can shift, turn and zoom without
going back to the pictures. Pictures that cannot be used are counted, named and skipped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face
from align.geometry import (
    AlignmentError,
    Margins,
    Template,
    load_mean_shape,
    mean_shape,
    residual,
    symmetrised,
    to_pixels,
)
from align.landmarks import LandmarkPredictor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
GENDERS = ("male", "female")
MAX_AGE = 100
UNKNOWN = -1

VIEW_SIZE = 160
# The paper's margins seen from 1.25 times as far: crops may be shifted, turned and zoomed out by as much without new pixels.
VIEW_ZOOM = 1.25
VIEW_MARGINS = Margins(left=0.26, top=0.26, right=0.26, bottom=0.18)


class DataError(ValueError):
    """A data set that cannot be read as asked."""


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `age` in years, `gender` and `expression` as indices, -1 where the set does not say."""

    path: Path
    age: int = UNKNOWN
    gender: int = UNKNOWN
    expression: int = UNKNOWN
    ethnicity: int = UNKNOWN


@dataclass
class Report:
    """What was skipped while reading a data set, and why."""

    read: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def skip(self, cause: str, name: str) -> None:
        self.skipped.setdefault(cause, []).append(name)

    def lines(self) -> list[str]:
        """For people: one line a cause, with the first few names."""
        out = [f"read {self.read} pictures"]
        for cause, names in sorted(self.skipped.items()):
            out.append(f"skipped {len(names)}: {cause} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
        out += [f"{count} {note}" for note, count in sorted(self.notes.items())]
        return out


_UTK_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.(?:jpg\.chip\.)?(?:jpg|png)", re.IGNORECASE)


def read_utkface(root: Path, names: Iterable[str] | None = None) -> tuple[list[Sample], Report]:
    """UTKFace: labels are in the file names, age_gender_ethnicity_date. Ages past 100 count as 100.

    `names` limits the set to those file names, folders before them are passed over; one that is not there raises
    DataError.
    """
    report = Report()
    paths = _pictures(root)
    if names is not None:
        by_name = {p.name: p for p in paths}
        wanted = [Path(n.strip()).name for n in names if n.strip()]
        missing = [n for n in wanted if n not in by_name]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(wanted)} listed pictures are not under {root}, first: {missing[0]}"
            )
        paths = [by_name[n] for n in wanted]
    samples = []
    for path in paths:
        match = _UTK_NAME.fullmatch(path.name)
        if not match:
            report.skip("name is not age_gender_ethnicity_date", path.name)
            continue
        age, gender, ethnicity = (int(g) for g in match.groups())
        if age > 120:
            report.skip("age out of range", path.name)
            continue
        samples.append(Sample(path, min(age, MAX_AGE), gender, UNKNOWN, ethnicity))
    report.read = len(samples)
    if not samples:
        raise DataError(f"no UTKFace pictures (age_gender_ethnicity_date.jpg) under {root}")
    return samples, report


def read_fer2013(root: Path, split: str) -> tuple[list[Sample], Report]:
    """FER2013 as folders: root/split/expression/*.jpg. An eighth folder is reported and skipped."""
    report = Report()
    folder = root / split
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: FER2013 is read from {root}/{split}/<expression>/*.jpg")
    samples = []
    for sub in sorted(p for p in folder.iterdir() if p.is_dir()):
        if sub.name not in EXPRESSIONS:
            report.skip(f"unknown expression {sub.name}", sub.name)
            continue
        samples += [Sample(p, expression=EXPRESSIONS.index(sub.name)) for p in _pictures(sub)]
    report.read = len(samples)
    if not samples:
        raise DataError(f"no pictures under {folder}")
    return samples, report


def _pictures(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"no folder {root}")
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """(h, w, 3) BGR, or None where the file is no picture."""
    data = np.fromfile(path, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None


class TrainingDetector:
    """dlib's HOG detector at a low threshold; of several faces the highest score. Finds more poses than Viola-Jones."""

    def __init__(self, threshold: float = -0.6) -> None:
        import dlib

        self._detector, self._threshold = dlib.get_frontal_face_detector(), threshold

    def __call__(self, gray: NDArray[np.uint8]) -> tuple[float, float, float, float] | None:
        """(x, y, width, height) of the best face in an (h, w) image, or None."""
        boxes, scores, _ = self._detector.run(gray, 0, self._threshold)
        if not boxes:
            return None
        best = boxes[int(np.argmax(scores))]
        return best.left(), best.top(), best.width(), best.height()


# A face that no detector finds is looked for where crops of its kind have it: the median box that dlib's detector
# found, as shares of the picture's side. Measured by `main.py prepare`, which prints them.
USUAL_BOX = {"utkface": (0.075, 0.075, 0.9, 0.9), "fer2013": (0.07, 0.17, 0.905, 0.905)}
# The detector wants faces of 80 px and a little room around them: small pictures are enlarged and framed first.
_WORKING_SIZE = 200
_FRAME = {"utkface": 0.0, "fer2013": 0.2}


@dataclass(frozen=True)
class Located:
    """Landmarks of one picture, in its own pixels, and how they came about."""

    landmarks: NDArray[np.float64]
    found: bool
    box: tuple[float, float, float, float]  # shares of the picture's side


class Locator:
    """Finds the landmarks of the one face of a data-set picture."""

    def __init__(self, kind: str, detect: Callable[[NDArray[np.uint8]], Sequence[float] | None] | None = None) -> None:
        self._kind, self._frame = kind, _FRAME[kind]
        self._detect = detect or TrainingDetector()
        self._predict = LandmarkPredictor()

    def __call__(self, image: NDArray[np.uint8]) -> Located:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        side = max(gray.shape)
        scale = max(1.0, _WORKING_SIZE / side)
        if scale > 1:
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        pad = round(self._frame * max(gray.shape))
        if pad:
            gray = cv2.copyMakeBorder(gray, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
        box = self._detect(gray)
        found = box is not None
        if box is None:
            x, y, w, h = USUAL_BOX[self._kind]
            box = (x * side * scale + pad, y * side * scale + pad, w * side * scale, h * side * scale)
        points = (self._predict(gray, box) - pad + 0.5) / scale - 0.5
        x, y, w, h = box
        return Located(
            points,
            found,
            ((x - pad) / (side * scale), (y - pad) / (side * scale), w / (side * scale), h / (side * scale)),
        )


def _locate_one(kind: str, path: Path) -> Located | None:
    locator = _LOCATORS.get(kind)
    if locator is None:
        cv2.setNumThreads(1)
        locator = _LOCATORS[kind] = Locator(kind)
    image = read_picture(path)
    return None if image is None else locator(image)


_LOCATORS: dict[str, Locator] = {}


def locate_all(
    samples: Sequence[Sample], kind: str, workers: int = 2, progress: Callable = iter
) -> list[Located | None]:
    """Landmarks of every sample, in order, over several processes; None for a file that is no picture."""
    with get_context("spawn").Pool(workers) as pool:
        return list(progress(pool.imap(partial(_locate_one, kind), [s.path for s in samples], chunksize=64)))


def measure_mean_shape(
    samples: Sequence[Sample], kind: str, workers: int = 2, progress: Callable = iter
) -> NDArray[np.float64]:
    """Symmetric (47, 2) mean shape over the samples whose face is detected; eyes one unit apart."""
    located = locate_all(samples, kind, workers, progress)
    return symmetrised(mean_shape([place.landmarks for place in located if place and place.found]))


def view_template() -> Template:
    return Template.from_shape(load_mean_shape(), VIEW_MARGINS)


def cut_views(
    samples: Sequence[Sample],
    located: Sequence[Located | None],
    gray: bool,
    out: Path,
    report: Report,
    progress: Callable = iter,
) -> list[int]:
    """Writes the aligned views as one .npy, (n, 160, 160[, 3]) uint8 RGB or grey; returns which samples are in it."""
    template, keep = view_template(), []
    shape = (len(samples), VIEW_SIZE, VIEW_SIZE) + (() if gray else (3,))
    views = np.lib.format.open_memmap(out, "w+", np.uint8, shape)
    for i, (sample, place) in enumerate(progress(list(zip(samples, located, strict=True)))):
        image = read_picture(sample.path)
        if image is None or place is None:
            report.skip("not a readable picture", sample.path.name)
            continue
        try:
            matrix = to_pixels(template.fit(place.landmarks), VIEW_SIZE)
        except AlignmentError as error:
            report.skip(str(error), sample.path.name)
            continue
        if not place.found:
            report.notes["placed by the usual box, no face detected"] += 1
        if residual(matrix, place.landmarks, template.at(VIEW_SIZE)) > 0.05 * VIEW_SIZE:
            report.notes["with a poor fit (residual above 5 % of the view)"] += 1
        crop = crop_face(image, matrix, VIEW_SIZE)
        views[len(keep)] = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY if gray else cv2.COLOR_BGR2RGB)
        keep.append(i)
    views.flush()
    return keep


def near_duplicates(samples: Sequence[Sample], threshold: int = 24, progress: Callable = iter) -> NDArray[np.int64]:
    """A group number per sample; pictures whose 240-bit difference hashes differ in at most `threshold` bits, mirrored
    or not, share one, and so do chains of such pairs. Threshold: see docs/network.md."""
    bits = np.zeros((2, len(samples), 240), np.float32)
    for i, sample in enumerate(progress(samples)):
        image = read_picture(sample.path)
        if image is None:
            bits[:, i] = np.random.default_rng(i).integers(0, 2, 240) * 2.0 - 1
            continue
        small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (16, 16), interpolation=cv2.INTER_AREA).astype(
            np.int16
        )
        for k, picture in enumerate((small, small[:, ::-1])):
            bits[k, i] = np.where(np.diff(picture, axis=1) > 0, 1.0, -1.0).ravel()
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, cols = [], []
    limit = 240 - 2 * threshold
    for start in range(0, len(samples), 2048):
        block = bits[0, start : start + 2048]
        for side in bits:
            r, c = np.nonzero(block @ side.T >= limit)
            rows.append(r + start)
            cols.append(c)
    r, c = np.concatenate(rows), np.concatenate(cols)
    graph = coo_matrix((np.ones(len(r), np.int8), (r, c)), shape=(len(samples),) * 2)
    return connected_components(graph, directed=False)[1]


def validation_mask(samples: Sequence[Sample], groups: NDArray[np.int64], share: float = 0.05) -> NDArray[np.bool_]:
    """Which samples are held out: whole groups, chosen by a hash of the group's first name, so that it is the same on
    every machine and whatever else is in the folder."""
    first: dict[int, str] = {}
    for sample, group in zip(samples, groups, strict=True):
        name = sample.path.name
        first[group] = min(name, first.get(group, name))
    chosen = {
        g
        for g, name in first.items()
        if int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") < share * 2**32
    }
    return np.array([g in chosen for g in groups])


@dataclass(frozen=True)
class Views:
    """Prepared faces of one data set and split: `pixels` (n, 160, 160[, 3]) uint8 memory-mapped, labels as (n,) int16."""

    pixels: NDArray[np.uint8]
    age: NDArray[np.int16]
    gender: NDArray[np.int16]
    expression: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.age)

    def take(self, chosen: NDArray[np.int64]) -> Views:
        """Copies of the chosen faces."""
        return Views(self.pixels[chosen], self.age[chosen], self.gender[chosen], self.expression[chosen])


def load_views(folder: Path, name: str) -> tuple[Views, NDArray[np.bool_]]:
    """Reads what `prepare` wrote for one data set, and which of its samples are held out for validation."""
    try:
        labels = np.load(folder / f"{name}.labels.npz")
        pixels = np.load(folder / f"{name}.npy", mmap_mode="r")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing: run `main.py prepare --out {folder}` first") from error
    n = len(labels["age"])
    return Views(pixels[:n], labels["age"], labels["gender"], labels["expression"]), labels["held_out"]


def prepare(
    name: str,
    samples: Sequence[Sample],
    held_out: NDArray[np.bool_],
    gray: bool,
    out: Path,
    report: Report,
    workers: int = 2,
    progress: Callable = iter,
) -> None:
    """Aligns one data set and writes NAME.npy, NAME.labels.npz, NAME.validation.txt and NAME.report.txt into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    located = locate_all(samples, name, workers, progress)
    np.savez(out / f"{name}.landmarks.npz", landmarks=[p.landmarks if p else np.zeros((47, 2)) for p in located])
    boxes = np.array([p.box for p in located if p and p.found])
    if len(boxes):
        report.notes[f"faces found; median box {np.median(boxes, axis=0).round(3).tolist()}"] = len(boxes)
    keep = cut_views(samples, located, gray, out / f"{name}.npy", report, progress)
    kept = [samples[i] for i in keep]
    labels = {
        k: np.array([getattr(s, k) for s in kept], np.int16) for k in ("age", "gender", "expression", "ethnicity")
    }
    np.savez(out / f"{name}.labels.npz", held_out=held_out[keep], names=[s.path.name for s in kept], **labels)
    (out / f"{name}.validation.txt").write_text(
        "".join(f"{s.path.name}\n" for s, h in zip(kept, held_out[keep], strict=True) if h)
    )
    (out / f"{name}.report.txt").write_text("\n".join(report.lines()) + "\n")
    (out / f"{name}.skipped.json").write_text(json.dumps(report.skipped, indent=1))
