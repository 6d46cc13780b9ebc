"""Figures per exit and input size of an exported network over a labelled data set, read from the pictures themselves.

`align`: face and landmarks are found in each picture, as in training. Otherwise the pictures are chips that the data
set's makers have aligned already, and one fixed crop serves all: the mean of what `align` finds, so the two differ only
where a face sits unusually.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face
from align.geometry import AlignmentError, Template, to_pixels
from models.data.locate import Locator
from models.data.sets import appa_real, fer2013, ferplus, own, utkface
from models.data.sets.base import DataError, Placing, Report, Sample, leave_out, read_picture
from models.judging.figures import figures
from models.manifest import TASKS as HEADS
from models.manifest import ManifestError
from models.onnx_file import at_size
from models.session import cpu_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.manifest import Manifest

BATCH = 64
# What `align` does to the median picture: x' = scale * x + shift, from shares of the picture's side to the unit square
# of the crop. Medians over every fifth prepared picture's fit; rotation, below 0.7 degrees, is left out.
FIXED_CROP = {"utkface": (1.0955, -0.0396, 0.0308), "fer2013": (1.112, -0.047, -0.070)}
FIXED_CROP["ferplus"] = FIXED_CROP["fer2013"]

PLACINGS = {
    "ferplus": fer2013.PLACING,
    "utkface": utkface.PLACING,
    "fer2013": fer2013.PLACING,
    "appa_real": appa_real.PLACING,
    "csv": Placing(),
}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Which pictures of which data set."""

    dataset: str  # utkface, fer2013, ferplus, appa_real or csv
    root: Path  # the data set's folder; of csv the table
    split: str = "validation"  # of fer2013, ferplus and appa_real
    names: Sequence[str] | None = None  # of utkface: only these files
    votes: Path | None = None  # for ferplus: the annotators' table
    without: Path | None = None  # a list of pictures to leave out

    def read(self) -> tuple[Sequence[Sample], Report]:
        """Raises DataError."""
        samples, report = self._read()
        if self.without:
            samples = leave_out(samples, report, self.without)
        if self.dataset == "ferplus":
            if self.votes is None:
                raise DataError("FER+'s votes are needed: give their table with --votes")
            voted = ferplus.with_votes(samples, report, self.votes)
            samples = [s for s in voted if ferplus.majority(s.votes) >= 0]
            cause = "not judged: no class has more than half of the votes, or it is unknown or no face"
            report.notes[cause] = len(voted) - len(samples)
        return samples, report

    def _read(self) -> tuple[Sequence[Sample], Report]:
        if self.dataset == "utkface":
            return utkface.read_utkface(self.root, self.names)
        if self.dataset in ("fer2013", "ferplus"):
            return fer2013.read_fer2013(self.root, self.split)
        if self.dataset == "csv":
            mine = own.read_csv(self.root)
            return mine.samples, mine.report
        found = appa_real.read(self.root, splits=["valid" if self.split == "validation" else self.split])
        return found.samples, found.report


def evaluate(
    manifest: Manifest,
    pictures: Pictures,
    *,
    align: bool = True,
    size: int | None = None,
    teacher: bool = False,
    progress: Callable[..., Any] = iter,
) -> dict[str, Any]:
    """All figures, ready for JSON. With `teacher` the landmarks are those of dlib's 68-point model instead of our own.
    Raises DataError and ManifestError."""
    kept, by_size, report = read_outputs(manifest, pictures, align=align, size=size, teacher=teacher, progress=progress)
    labels = labels_of(kept)
    if not any((labels[task] >= 0).any() for task in manifest.tasks):
        raise DataError(
            f"{pictures.dataset} has no labels of {' and '.join(manifest.tasks)}, which is what {manifest.name} estimates: "
            "choose another data set"
        )
    landmarks = "landmarks of dlib's 68-point model" if teacher else "landmarks of each picture"
    return {
        "model": manifest.name,
        "sha256": manifest.sha256,
        "dataset": pictures.dataset,
        "pictures": len(kept),
        "alignment": landmarks if align else "one fixed crop",
        "data": report.lines(),
        "multiply_adds": {
            s: {e.name: e.multiply_adds[s] for e in manifest.variants if s in e.multiply_adds} for s in by_size
        },
        "figures": {
            s: {
                e.name: figures(
                    {h: outputs[f"{e.name}.{h}"] for h in manifest.tasks}, labels, e.age_interval_scale.get(s)
                )
                for e in manifest.variants
                if not e.mirrored or s in e.multiply_adds
            }
            for s, outputs in by_size.items()
        },
    }


def labels_of(samples: Sequence[Sample]) -> dict[str, NDArray]:
    """The true labels, (n,) each, -1 or nan where unknown. Where FER+'s votes are known they say what is expressed, and the
    set's own label is `expression_fer2013`."""
    labels = {k: np.array([getattr(s, k) for s in samples]) for k in (*HEADS, "ethnicity", "age_mean", "age_std")}
    if any(s.votes for s in samples):
        labels["expression_fer2013"] = labels["expression"]
        labels["expression"] = np.array([ferplus.majority(s.votes) for s in samples])
    return labels


def read_outputs(
    manifest: Manifest,
    pictures: Pictures,
    *,
    align: bool = True,
    size: int | None = None,
    teacher: bool = False,
    progress: Callable[..., Any] = iter,
) -> tuple[list[Sample], dict[int, dict[str, NDArray[np.float32]]], Report]:
    """The samples that could be read; per input size the outputs for them, by exit and head as EXIT.HEAD; what was skipped."""
    sizes = [size] if size else list(manifest.input_sizes)
    if not all(32 <= s <= 512 for s in sizes):
        raise DataError(f"--size must be from 32 to 512 px, got {size}")
    if not align and pictures.dataset not in FIXED_CROP:
        raise DataError(f"{pictures.dataset} has no fixed crop: leave --aligned out")
    samples, report = pictures.read()
    sessions = sessions_of(manifest, sizes)
    crops = Cropper(pictures.dataset, manifest, sizes, align, report, teacher)
    kept: list[Sample] = []
    outputs: dict[int, list[dict[str, NDArray[np.float32]]]] = {s: [] for s in sizes}
    batch: list[list[NDArray[np.uint8]]] = []
    for i, sample in enumerate(progress(samples)):
        crop_by_size = crops(sample)
        if crop_by_size is not None:
            kept.append(sample)
            batch.append(crop_by_size)
        if batch and (len(batch) == BATCH or i == len(samples) - 1):
            for s, faces in zip(sizes, zip(*batch, strict=True), strict=True):
                outputs[s].append(read_batch(sessions[s], manifest, s, np.stack(faces)))
            batch = []
    if not kept:
        raise DataError(f"none of the {len(samples)} pictures could be used")
    joined = {s: {k: np.concatenate([batch[k] for batch in outputs[s]]) for k in outputs[s][0]} for s in sizes}
    return kept, joined, report


def read_batch(session: Any, manifest: Manifest, size: int, faces: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Every exit's outputs, mirrored exits' at the sizes that have them too."""
    names = [o.name for o in session.get_outputs()]
    out = dict(zip(names, session.run(None, {manifest.input_name: faces}), strict=True))
    twice = [e for e in manifest.mirrored if size in e.multiply_adds]
    if twice:
        mirror = np.ascontiguousarray(faces[:, :, ::-1])
        other = dict(zip(names, session.run(None, {manifest.input_name: mirror}), strict=True))
        out |= {f"{e.name}.{h}": (out[e.output(h)] + other[e.output(h)]) / 2 for e in twice for h in manifest.tasks}
    return out


class Cropper:
    """From a sample to its (s, s, 3) RGB crops, one per size, or None where it cannot be read; counts in `report`."""

    def __init__(
        self, dataset: str, manifest: Manifest, sizes: list[int], align: bool, report: Report, teacher: bool = False
    ) -> None:
        self._template, self._sizes, self._report = Template(manifest.template), sizes, report
        self._locate = Locator(PLACINGS[dataset], teacher=teacher) if align else None
        self._fixed = FIXED_CROP.get(dataset)

    def __call__(self, sample: Sample) -> list[NDArray[np.uint8]] | None:
        placed = self.place(sample)
        if placed is None:
            return None
        image, matrix = placed
        return [cv2.cvtColor(crop_face(image, to_pixels(matrix, s), s), cv2.COLOR_BGR2RGB) for s in self._sizes]

    def place(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float64]] | None:
        """The picture, (h, w, 3) BGR, and its 2x3 matrix into the unit square."""
        image = read_picture(sample.path)
        if image is None:
            self._report.skip("not a readable picture", sample.path.name)
            return None
        matrix = self._fixed_matrix(image) if self._fixed else None
        if self._locate:
            place = self._locate(image)
            if place is None:
                self._report.skip("no face found", sample.path.name)
                return None
            if not place.found:
                self._report.notes["placed by the usual box, no face detected"] += 1
            try:
                matrix = self._template.fit(place.landmarks)
            except AlignmentError as error:
                if matrix is None:
                    self._report.skip(str(error), sample.path.name)
                    return None
                self._report.notes["placed by the fixed crop, no fit"] += 1
        return image, matrix

    def _fixed_matrix(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        scale, x, y = self._fixed
        height, width = image.shape[:2]
        side = max(height, width)
        return np.array([[scale / side, 0, x + scale * 0.5 / side], [0, scale / side, y + scale * 0.5 / side]])


def sessions_of(manifest: Manifest, sizes: list[int]) -> dict[int, Any]:
    """A session per input size. A size that the network was not made for is run with its default size's parameters."""
    import onnx

    content = manifest.verify()
    try:
        file = onnx.load_model_from_string(content)
        sessions = {size: cpu_session(at_size(file, size).SerializeToString()) for size in sizes}
    except Exception as error:  # protobuf and ONNX Runtime raise a dozen types of their own
        raise ManifestError(f"network {manifest.network} cannot be loaded: {error}") from error
    there = {o.name for o in sessions[sizes[0]].get_outputs()}
    missing = {e.output(h) for e in manifest.exits for h in manifest.tasks} - there
    if missing:
        raise ManifestError(f"network {manifest.network} lacks the outputs {', '.join(sorted(missing)[:3])}, ...")
    return sessions
