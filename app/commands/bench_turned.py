"""`bench turned`: faces turned far away, of which UTKFace has none: are they found, refused, and how well are they read?

FER2013 has some. A picture counts as turned where OpenCV's profile cascade finds a face, looking either way, and the
frontal one, which is the application's detector, finds none. Landmarks are searched for as in training, so that faces which
the application would not find are read too; the expression, for which FER2013 has labels, says how well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROFILE_CASCADE = "haarcascade_profileface.xml"
SIDE, BORDER = 96, 24  # pixels: 48 px pictures are doubled and given surroundings, since the cascades want some
SMALLEST = 40  # pixels of a face in such a picture
PROFILE_STEP, PROFILE_NEIGHBOURS = 1.05, 3
GROUPS = ("frontal", "turned", "neither")
BATCH = 64


def bench_turned(root: Path | None, count: int | None, model: str, json_path: Path | None) -> int:
    """Raises UsageError and ModelError."""
    if not root:
        raise UsageError("give --fer2013 DIR, the folder with train/ and validation/")
    if count is not None and count < 1:
        raise UsageError(f"--count must be at least 1, got {count}")
    if json_path:
        check_writable(json_path)
    rows = _measure(root, count, model)
    print(
        f"{'found by':<10}{'faces':>8}{'expression':>12}{'misfit p50, p90':>18}{'yaw p50, p90':>15}{'refused':>10}{'steady':>9}"
    )
    for row in rows:
        print(
            f"{row['found_by']:<10}{row['faces']:>8}{100 * row['accuracy']:>10.1f} %{row['misfit_p50']:>12.3f}, "
            f"{row['misfit_p90']:.3f}{row['yaw_p50']:>9.0f}, {row['yaw_p90']:>4.0f}{100 * row['refused']:>8.1f} %"
            f"{100 * row['steady']:>7.0f} %"
        )
    if json_path:
        json_path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(root: Path, count: int | None, model: str) -> list[dict[str, Any]]:
    """A row for each of GROUPS that has a face."""
    from tqdm import tqdm

    from align.crop import crop_batch
    from align.fitness import MAX_MISFIT, unsteadiness, yaw
    from align.geometry import AlignmentError, Template, residual
    from align.landmarks import LandmarkPredictor
    from app.compose import load_manifest
    from app.engine import OnnxEngine, readings
    from app.front_end import STEADY
    from models.datasets.base import DataError, read_picture
    from models.datasets.fer2013 import PLACING, read_fer2013
    from models.locate import Locator

    try:
        samples, _ = read_fer2013(root, "validation")
    except DataError as error:
        raise ModelError(str(error)) from error
    samples = [samples[i] for i in np.random.default_rng(0).permutation(len(samples))[:count]]
    manifest = load_manifest(model)
    locate, predict, template, group = Locator(PLACING), LandmarkPredictor(), Template(manifest.template), _Group()
    engine = OnnxEngine(manifest, "cpu", exits=[manifest.exits[-1].name])
    point = max(engine.points)
    seen: list[tuple[float, ...]] = []
    crops: list[NDArray[np.uint8]] = []
    for sample in tqdm(samples, leave=False):
        picture = read_picture(sample.path)
        place = None if picture is None else locate(picture)
        if picture is None or place is None:
            continue
        large = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        gray = cv2.copyMakeBorder(cv2.cvtColor(large, cv2.COLOR_BGR2GRAY), *[BORDER] * 4, cv2.BORDER_REPLICATE)
        try:
            matrix = template.fit(place.landmarks)
        except AlignmentError:
            continue
        misfit = residual(matrix, place.landmarks, template.array)
        box = [BORDER, BORDER + 0.1 * SIDE, SIDE, 0.9 * SIDE] if place.box is None else _on(place.box)
        shake = unsteadiness(lambda near, g=gray: predict(g, near), box, STEADY)
        refused, steady = misfit > MAX_MISFIT, shake <= STEADY
        seen.append((group(gray), sample.expression, misfit, abs(yaw(place.landmarks)), refused, steady))
        crops.append(crop_batch(picture, [matrix], point.size))
    if not seen:
        raise ModelError(f"no face could be located in the pictures under {root}")
    read = [
        int(np.argmax(one.expression))
        for i in range(0, len(crops), BATCH)
        for one in readings(manifest, point, engine.run(point, np.concatenate(crops[i : i + BATCH])))
    ]
    table = np.column_stack([np.array(seen, float), read])
    return [_row(name, table[table[:, 0] == k]) for k, name in enumerate(GROUPS) if (table[:, 0] == k).any()]


def _on(box: tuple[float, float, float, float]) -> list[float]:
    """A box in shares of the picture's side, as our detector draws it, in the enlarged one."""
    from align.landmarks import detector_box

    x, y, width, height = (SIDE * v for v in box)
    return list(detector_box((x + BORDER, y + BORDER, width, height)))


class _Group:
    """Which of GROUPS a picture belongs to."""

    def __init__(self) -> None:
        from app.detector import open_detector

        self._frontal = open_detector("viola-jones")
        self._profile = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / PROFILE_CASCADE))
        if self._profile.empty():
            raise ModelError(f"{PROFILE_CASCADE} cannot be read: reinstall opencv-python-headless below 5")

    def __call__(self, gray: NDArray[np.uint8]) -> int:
        if self._frontal(gray, SMALLEST):
            return 0
        smallest = (SMALLEST, SMALLEST)
        either_way = (gray, np.ascontiguousarray(gray[:, ::-1]))
        turned = any(
            len(self._profile.detectMultiScale(g, PROFILE_STEP, PROFILE_NEIGHBOURS, minSize=smallest))
            for g in either_way
        )
        return 1 if turned else 2


def _row(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    _, label, misfit, yaws, refused, steady, read = values.T
    return {
        "found_by": name,
        "faces": len(values),
        "accuracy": float((label == read).mean()),
        "misfit_p50": float(np.median(misfit)),
        "misfit_p90": float(np.quantile(misfit, 0.9)),
        "yaw_p50": float(np.median(yaws)),
        "yaw_p90": float(np.quantile(yaws, 0.9)),
        "refused": float(refused.mean()),
        "steady": float(steady.mean()),
    }
