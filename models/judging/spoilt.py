"""Figures on spoilt pictures: held-out faces brought to a camera's resolution and spoilt in every way of `models.data.spoil`.

Faces and landmarks are found in the picture as it is, so that the network alone is judged. Then the picture is shrunk (or
enlarged) until the face is as wide as WIDTHS_PX says, spoilt, and cut as the application cuts it. The same for the same
pictures, whatever else is evaluated: what is drawn at random depends on the picture's name.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from align.crop import crop_face
from align.geometry import to_pixels
from models.data.spoil import KINDS, spoilt
from models.judging import metrics
from models.judging.evaluate import BATCH, HEADS, Cropper, labels_of, sessions_of
from models.judging.spoilt_report import CLEAN, LEVELS, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from models.data.sets.base import Report, Sample
    from models.judging.evaluate import Pictures
    from models.manifest import Exit, Manifest

    #: a picture (h, w, 3) uint8 RGB whose face is so wide, its 2x3 matrix into the unit square, a number from its name
    Face = tuple[NDArray[np.uint8], NDArray[np.float64], int]
    #: per input size and exit: figures
    Figures = dict[int, dict[str, dict[str, float]]]

# How wide the faces are, in pixels: two metres from a webcam, and twice as far.
WIDTHS_PX = (60, 30)


def evaluate_spoilt(
    manifest: Manifest, pictures: Pictures, *, sample: int | None = None, progress: Callable[..., Any] = iter
) -> dict[str, Any]:
    """Figures of every exit and input size by width, kind and level, ready for JSON; mirrored exits are left out.

    `sample`: only this many pictures, chosen by a hash of their names. Raises DataError and ManifestError.
    """
    samples, report = pictures.read()
    kept, by_width = faces_at_widths(manifest, pictures.dataset, sampled(samples, sample), report, progress)
    labels = labels_of(kept)
    sessions = sessions_of(manifest, list(manifest.input_sizes))
    conditions = [(width, *condition) for width in WIDTHS_PX for condition in _conditions()]
    figures: dict[int, dict[str, list[Figures]]] = {width: {} for width in WIDTHS_PX}
    for width, kind, level in progress(conditions):
        outputs = _outputs(manifest, sessions, by_width[width], kind, level, width)
        found = {size: {e.name: _figures(outputs[size], e, labels, size) for e in manifest.exits} for size in outputs}
        figures[width].setdefault(kind, []).append(found)
    return {
        "model": manifest.name,
        "sha256": manifest.sha256,
        "dataset": pictures.dataset,
        "pictures": len(kept),
        "data": report.lines(),
        "kinds": {kind.name: {"unit": kind.unit, "levels": list(kind.levels)} for kind in KINDS.values()},
        "figures": figures,
        "summary": {width: summary(by_kind) for width, by_kind in figures.items()},
    }


def _conditions() -> Iterator[tuple[str, int]]:
    yield CLEAN, 0
    for kind in KINDS:
        for level in range(len(LEVELS)):
            yield kind, level


def sampled(samples: Sequence[Sample], count: int | None) -> Sequence[Sample]:
    """Only `count` of the samples, chosen by a hash of their names."""
    if count and count < len(samples):
        return sorted(samples, key=lambda s: zlib.crc32(s.path.name.encode()))[:count]
    return samples


def faces_at_widths(
    manifest: Manifest, dataset: str, samples: Sequence[Sample], report: Report, progress: Callable[..., Any]
) -> tuple[list[Sample], dict[int, list[Face]]]:
    """The samples that can be read, and their pictures at each width."""
    crops = Cropper(dataset, manifest, list(manifest.input_sizes), align=True, report=report)
    kept: list[Sample] = []
    by_width: dict[int, list[Face]] = {width: [] for width in WIDTHS_PX}
    for sample in progress(samples):
        placed = crops.place(sample)
        if placed is None:
            continue
        kept.append(sample)
        for width, faces in by_width.items():
            faces.append((*at_width(*placed, width), zlib.crc32(sample.path.name.encode())))
    return kept, by_width


def at_width(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], width: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An (h, w, 3) BGR picture with its 2x3 matrix into the unit square, as RGB with a face `width` pixels wide."""
    factor = width * float(np.hypot(matrix[0, 0], matrix[1, 0]))
    h, w = image.shape[:2]
    new_w, new_h = max(1, round(w * factor)), max(1, round(h * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.cvtColor(cv2.resize(image, (new_w, new_h), interpolation=how), cv2.COLOR_BGR2RGB)
    fx, fy = w / new_w, h / new_h
    # Pixel centres: x_picture = (x_small + 0.5) * fx - 0.5
    to_picture = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5], [0, 0, 1]])
    return small, matrix @ to_picture


def as_spoilt(face: Face, kind: str, level: int, width: int) -> NDArray[np.uint8]:
    """The face's picture, spoilt unless `kind` is CLEAN: (h, w, 3) RGB."""
    image, _, index = face
    return image if kind == CLEAN else spoilt(image, kind, level, width, index)


def _outputs(
    manifest: Manifest, sessions: dict[int, Any], faces: Sequence[Face], kind: str, level: int, width: int
) -> dict[int, dict[str, NDArray[np.float32]]]:
    """Per input size what every exit says of all faces, by EXIT.HEAD."""
    chunks: dict[int, list[dict[str, NDArray[np.float32]]]] = {size: [] for size in sessions}
    for start in range(0, len(faces), BATCH):
        pictures = [(as_spoilt(face, kind, level, width), face[1]) for face in faces[start : start + BATCH]]
        for size, session in sessions.items():
            crops = np.stack([crop_face(image, to_pixels(matrix, size), size) for image, matrix in pictures])
            names = [o.name for o in session.get_outputs()]
            chunks[size].append(dict(zip(names, session.run(names, {manifest.input_name: crops}), strict=True)))
    return {
        size: {name: np.concatenate([chunk[name] for chunk in some]) for name in some[0]}
        for size, some in chunks.items()
    }


def _figures(
    outputs: dict[str, NDArray[np.float32]], exit_: Exit, labels: dict[str, NDArray], size: int
) -> dict[str, float]:
    """As far as the labels allow: mae and bias in years, coverages of the age's intervals, gender, expression."""
    age, *classes = (outputs.get(exit_.output(h)) for h in HEADS)
    out: dict[str, float] = {}
    known = labels["age"] >= 0
    if known.any():
        off = (metrics.expectation(age) - labels["age"])[known]
        half = metrics.spread(age)[known]
        out |= {"mae": float(np.abs(off).mean()), "bias": float(off.mean())}
        for coverage, scale in exit_.age_interval_scale.get(size, {}).items():
            out[f"coverage_{coverage}"] = float((np.abs(off) <= scale * half).mean())
    for name, p in zip(HEADS[1:], classes, strict=True):
        told = labels[name] >= 0
        if p is not None and told.any():
            out[name] = metrics.accuracy(p[told], labels[name][told])
    return out
