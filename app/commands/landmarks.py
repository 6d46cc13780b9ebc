"""`train-landmarks`: trains the landmark predictor on our detector's boxes, or measures the one that is shipped."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.commands.networks import translated
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from align.landmarks import BoxXYWH
    from align.train_landmarks import Tools


SMALLEST_FACE = 24.0  # pixels of the scanned picture


def viola_jones() -> Callable[[NDArray[np.uint8]], list[BoxXYWH]]:
    """Our detector as align/ wants it: plain boxes."""
    from app.faces.viola_jones import ViolaJones

    detector = ViolaJones()
    return lambda gray: [(b.x, b.y, b.width, b.height) for b in detector(gray, SMALLEST_FACE)]


def training_box() -> Callable[[NDArray[np.uint8]], BoxXYWH]:
    """A box of the teacher's kind for the face of an undistorted picture: dlib's detector, else the usual place."""
    from models.data.locate import SCORE_OF_A_CROP, HogDetector
    from models.data.sets.utkface import PLACING

    detect = HogDetector(SCORE_OF_A_CROP)

    def locate(gray: NDArray[np.uint8]) -> BoxXYWH:
        found = detect(gray)
        x, y, w, h = found[1] if found else (float(v * max(gray.shape)) for v in PLACING.usual_box)
        return x, y, w, h

    return locate


@contextmanager
def _clear_errors() -> Iterator[None]:
    from align.landmarks import LandmarkModelError
    from align.shape_file import ShapeFileError
    from align.train_landmarks import LandmarkTrainingError

    with translated():
        try:
            yield
        except (LandmarkModelError, LandmarkTrainingError, ShapeFileError) as error:
            raise ModelError(str(error)) from error


def train(utkface: Path, out: Path | None, pictures: int | None, workers: int) -> int:
    """Trains on the pictures that `prepare` does not hold out."""
    if out is None:
        raise UsageError("give --out DIR for the training's files, or --evaluate to measure the shipped predictor")
    if workers < 1 or (pictures is not None and pictures < 1):
        raise UsageError("--workers and --pictures must be at least 1")
    from tqdm import tqdm

    with _clear_errors():
        from align.train_landmarks import train_landmarks

        training, _ = _split(utkface)
        manifest = train_landmarks(
            training[:pictures],
            out,
            _tools(),
            workers=workers,
            about={"data": "UTKFace, the pictures that `prepare` does not hold out", "teacher": "dlib, 68 points"},
            progress=tqdm,
        )
    print(f"wrote {manifest} and what it names; copy these files to align/weights/ to use them")
    return 0


def evaluate(utkface: Path, model: Path | None, pictures: int | None, plot: Path | None, json_path: Path | None) -> int:
    """Figures over the pictures that `prepare` holds out."""
    for path in (plot, json_path):
        if path:
            check_writable(path)
    from tqdm import tqdm

    with _clear_errors():
        from align.evaluate_landmarks import evaluate_landmarks, time_landmarks
        from align.landmarks import MANIFEST, LandmarkPredictor, verified_files

        manifest = model or MANIFEST
        predictor = LandmarkPredictor(manifest)
        _, held_out = _split(utkface)
        report = evaluate_landmarks(held_out[:pictures], _tools(), predictor, progress=tqdm)
        gray = _portrait()[:256, 100:356].copy()  # so small that both predictors' answers are read the quick way
        report["time"] = time_landmarks(manifest, gray, viola_jones()(gray)[0])
        report["bytes"] = sum(p.stat().st_size for p in verified_files(manifest))
    for line in table(report):
        print(line)
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if plot:
        draw(report, plot)
    return 0


def _portrait() -> NDArray[np.uint8]:
    """The demo's public-domain portrait, 512 px, grey: one face."""
    import numpy as np
    from skimage.color import rgb2gray
    from skimage.data import astronaut

    return np.rint(rgb2gray(astronaut()) * 255).astype(np.uint8)


def _tools() -> Tools:
    from align.train_landmarks import Tools

    return Tools(viola_jones, training_box)


def _split(utkface: Path) -> tuple[list[Path], list[Path]]:
    """Pictures for training and those held out, the same as `prepare`'s; in the order of a hash, so that the first N of
    either are a fair sample."""
    from tqdm import tqdm

    from models.data import views as data
    from models.data.sets import utkface as utkface_set

    dataset = utkface_set.read(utkface)
    held_out = data.held_out_of(dataset, progress=tqdm)
    print(f"UTKFace: {len(dataset.samples)} pictures, {held_out.sum()} held out")
    sides: tuple[list[Path], list[Path]] = ([], [])
    for sample, held in zip(dataset.samples, held_out, strict=True):
        sides[int(held)].append(sample.path)
    for side in sides:
        side.sort(key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())
    return sides


def table(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = [
        f"{report['pictures']} held-out pictures, face detected on {report['found']}",
        "error, eye distances            mean   median      p90  pictures",
    ]
    for name, e in report["errors"].items():
        lines.append(f"{name:<28}{e['mean']:>8.4f} {e['median']:>8.4f} {e['p90']:>8.4f} {e['pictures']:>9}")
    t = report["time"]
    lines.append(
        f"per face {t['ours_ms']:.2f} ms, teacher {t['teacher_ms']:.2f} ms, ratio {t['ratio']:.2f}; "
        f"loads in {t['load_ms']:.0f} ms; {report['bytes'] / 1e6:.2f} MB"
    )
    return lines


def draw(report: dict[str, Any], path: Path) -> None:
    """Error over how far the box strays, and over the head's tilt."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, word, label in (
        (axes[0], "box astray", "standard deviation of the box, % of its side"),
        (axes[1], "tilted", "tilt of the head in degrees, upright box"),
    ):
        for who, name in (("teacher", "dlib, 68 points"), ("ours", "ours, 47 points")):
            found = {k: v for k, v in report["errors"].items() if k.startswith(who) and word in k}
            x = [float(k.split()[-1].rstrip("%")) for k in found]
            axis.plot(x, [v["median"] for v in found.values()], "o-", label=name)
        axis.set_xlabel(label)
        axis.set_ylim(0, 0.2)
    axes[0].set_ylabel("median error, eye distances")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
