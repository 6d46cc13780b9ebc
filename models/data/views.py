"""From data sets to what training reads: faces aligned once, and a validation split.

`prepare` finds the labelled face of every picture and stores, per data set, one array of aligned uint8 views that are
wider than the network's crop, so that training can shift, turn and zoom without going back to the pictures. Pictures
that cannot be used are counted, named and skipped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face
from align.geometry import AlignmentError, Margins, Template, load_mean_shape, residual, to_pixels
from models.data.locate import locate_all
from models.data.sets import ferplus
from models.data.sets.base import EXPRESSIONS, UNKNOWN, DataError, DataSet, Report, Sample, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.data.locate import Located

VIEW_SIZE = 160
# Views show 1.25 times the paper's crop, so that crops may be shifted, turned and zoomed out within them.
VIEW_ZOOM = 1.25
VIEW_MARGINS = Margins(left=0.26, top=0.26, right=0.26, bottom=0.18)


def view_template() -> Template:
    return Template.from_shape(load_mean_shape(), VIEW_MARGINS)


def cut_views(
    samples: Sequence[Sample],
    located: Sequence[Located | None],
    gray: bool,
    out: Path,
    report: Report,
    progress: Callable = iter,
    size: int = VIEW_SIZE,
) -> list[int]:
    """Writes the aligned views as one .npy, (n, size, size[, 3]) uint8 RGB or grey; returns which samples are in it."""
    template, keep = view_template(), []
    shape = (len(samples), size, size) + (() if gray else (3,))
    views = np.lib.format.open_memmap(out, "w+", np.uint8, shape)
    for i, (sample, place) in enumerate(progress(list(zip(samples, located, strict=True)))):
        image = read_picture(sample.path)
        if image is None or place is None:
            report.skip("not a readable picture" if image is None else "no face found", sample.path.name)
            continue
        try:
            matrix = to_pixels(template.fit(place.landmarks), size)
        except AlignmentError as error:
            report.skip(str(error), sample.path.name)
            continue
        if not place.found:
            report.notes["placed by the usual box, no face detected"] += 1
        if residual(matrix, place.landmarks, template.at(size)) > 0.05 * size:
            report.notes["with a poor fit (residual above 5 % of the view)"] += 1
        crop = crop_face(image, matrix, size)
        views[len(keep)] = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY if gray else cv2.COLOR_BGR2RGB)
        keep.append(i)
    views.flush()
    return keep


def near_duplicates(samples: Sequence[Sample], threshold: int = 24, progress: Callable = iter) -> NDArray[np.int64]:
    """A group number per sample; pictures whose 240-bit difference hashes differ in at most `threshold` bits, mirrored
    or not, share one, and so do chains of such pairs. Threshold: see docs/reference/network.md."""
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
    step = max(1, min(2048, 2**27 // max(1, len(samples))))
    for start in range(0, len(samples), step):
        block = bits[0, start : start + step]
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


def held_out_of(dataset: DataSet, progress: Callable = iter) -> NDArray[np.bool_]:
    """Which samples are for validation: the set's own choice, or 5 % by whole people or groups of near duplicates."""
    if dataset.held_out is not None:
        return dataset.held_out
    groups = dataset.groups
    if groups is None:
        groups = near_duplicates(dataset.samples, progress=progress)
        dataset.report.notes["groups of near duplicates"] = int(groups.max()) + 1
    return validation_mask(dataset.samples, groups)


@dataclass(frozen=True)
class Views:
    """Aligned faces of one data set and split: `pixels` (n, v, v[, 3]) uint8 memory-mapped, labels as (n,) int16.

    `age_mean` and `age_std`, (n,) float32 years: mean and standard deviation of people's guesses, nan where nobody guessed.
    `shares`, (n, 7) float32, and `majority`, (n,): what FER+'s annotators voted for, to train on and to judge by (ferplus.py);
    zeros and -1 where a picture is left out, or nobody was asked.
    """

    pixels: NDArray[np.uint8]
    age: NDArray[np.int16]
    gender: NDArray[np.int16]
    expression: NDArray[np.int16]
    age_mean: NDArray[np.float32] = field(default=None)  # type: ignore[assignment]
    age_std: NDArray[np.float32] = field(default=None)  # type: ignore[assignment]
    shares: NDArray[np.float32] = field(default=None)  # type: ignore[assignment]
    majority: NDArray[np.int16] = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("age_mean", "age_std"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(self.age), np.nan, np.float32))
        if self.shares is None:
            object.__setattr__(self, "shares", np.zeros((len(self.age), len(EXPRESSIONS)), np.float32))
        if self.majority is None:
            object.__setattr__(self, "majority", np.full(len(self.age), UNKNOWN, np.int16))

    @property
    def voted(self) -> bool:
        """Whether the expressions are FER+'s votes, not the set's own labels."""
        return bool(self.shares.any())

    def __len__(self) -> int:
        return len(self.age)

    def take(self, chosen: NDArray[np.int64]) -> Views:
        """Copies of the chosen faces."""
        return Views(self.pixels[chosen], *(getattr(self, name)[chosen] for name in _LABELS))


_LABELS = ("age", "gender", "expression", "age_mean", "age_std", "shares", "majority")


def load_views(folder: Path, name: str) -> tuple[Views, NDArray[np.bool_]]:
    """Reads what `prepare` wrote for one data set, and which of its samples are held out for validation."""
    try:
        labels = np.load(folder / f"{name}.labels.npz")
        pixels = np.load(folder / f"{name}.npy", mmap_mode="r")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing: run `main.py prepare --out {folder}` first") from error
    known = {name: labels[name] for name in _LABELS if name in labels}
    if "votes" in labels:
        counts = [votes if votes[0] >= 0 else None for votes in labels["votes"]]
        known["shares"] = np.stack([ferplus.distribution(votes) for votes in counts])
        known["majority"] = np.array([ferplus.majority(votes) for votes in counts], np.int16)
    return Views(pixels[: len(labels["age"])], **known), labels["held_out"]


def prepare(
    dataset: DataSet,
    held_out: NDArray[np.bool_],
    out: Path,
    workers: int = 2,
    progress: Callable = iter,
    view_size: int = VIEW_SIZE,
) -> None:
    """Aligns one data set and writes NAME.npy, NAME.labels.npz, NAME.validation.txt and NAME.report.txt into `out`.

    Views of `view_size` pixels serve input sizes up to view_size / VIEW_ZOOM without being enlarged.
    """
    name, samples, report = dataset.name, dataset.samples, dataset.report
    out.mkdir(parents=True, exist_ok=True)
    located = locate_all(samples, dataset.placing, workers, progress)
    np.savez(out / f"{name}.landmarks.npz", landmarks=[p.landmarks if p else np.zeros((47, 2)) for p in located])
    boxes = np.array([p.box for p in located if p and p.found and p.box])
    if len(boxes):
        report.notes[f"faces found; median box {np.median(boxes, axis=0).round(3).tolist()}"] = len(boxes)
    if turned := sum(
        bool(p) and p.found and p.box is None and s.region is None for p, s in zip(located, samples, strict=True)
    ):
        report.notes["faces found with the picture turned"] = turned
    keep = cut_views(samples, located, dataset.is_grey, out / f"{name}.npy", report, progress, view_size)
    if not keep:
        raise DataError(f"{name}: no face could be aligned; {'; '.join(report.lines()[1:])}")
    kept = [samples[i] for i in keep]
    labels = {
        k: np.array([getattr(s, k) for s in kept], np.int16) for k in ("age", "gender", "expression", "ethnicity")
    }
    guesses = {k: np.array([getattr(s, k) for s in kept], np.float32) for k in ("age_mean", "age_std")}
    if any(s.votes for s in kept):
        nobody = (UNKNOWN,) * len(ferplus.VOTES)
        labels["votes"] = np.array([s.votes or nobody for s in kept], np.int16)
    names = [s.path.name for s in kept]
    np.savez(out / f"{name}.labels.npz", held_out=held_out[keep], names=names, **labels, **guesses)
    (out / f"{name}.validation.txt").write_text(
        "".join(f"{n}\n" for n, h in zip(names, held_out[keep], strict=True) if h)
    )
    (out / f"{name}.report.txt").write_text("\n".join(report.lines()) + "\n")
    (out / f"{name}.skipped.json").write_text(json.dumps(report.skipped, indent=1))
