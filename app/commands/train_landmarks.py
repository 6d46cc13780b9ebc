"""`train-landmarks`: trains the landmark predictor on our detector's boxes, or measures the one that is shipped."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, translated
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from align.landmarks import BoxXYWH
    from align.train_landmarks import Tools


SMALLEST_FACE = 24.0  # pixels of the scanned picture


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "train-landmarks",
        run,
        "Train the landmark predictor, or measure the shipped one. dlib's 68-point model is the teacher.",
        "train-landmarks --utkface UTKFace --out runs/landmarks",
    )
    p.add_argument(
        "--utkface", type=Path, required=True, metavar="DIR", help="folder of UTKFace's aligned and cropped pictures"
    )
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the training's folder (0.2 GB per 1000 pictures); one that was stopped goes on where it was",
    )
    p.add_argument("--pictures", type=int, metavar="N", help="only N pictures; default: all")
    p.add_argument("--workers", type=int, default=2, metavar="N", help="processes and threads; default 2")
    p.add_argument("--evaluate", action="store_true", help="only measure, on the pictures that `prepare` holds out")
    p.add_argument(
        "--model", type=Path, metavar="MANIFEST.json", help="with --evaluate: another predictor than the shipped one"
    )
    p.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="with --evaluate: draw the error over stray boxes and tilted heads"
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="with --evaluate: write all figures as JSON")


def run(args: argparse.Namespace) -> int:
    if not args.evaluate and (args.model or args.plot or args.json):
        raise UsageError("--model, --plot and --json go with --evaluate")
    if args.evaluate:
        return _evaluate(args.utkface, args.model, args.pictures, args.plot, args.json)
    return _train(args.utkface, args.out, args.pictures, args.workers)


def viola_jones() -> Callable[[NDArray[np.uint8]], list[BoxXYWH]]:
    """Our detector, as a function from a grey picture to plain boxes, which align/ takes."""
    from app.faces.viola_jones import ViolaJones

    detector = ViolaJones()
    return lambda gray: [tuple(s.box) for s in detector(gray, SMALLEST_FACE)]


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


def _train(utkface: Path, out: Path | None, pictures: int | None, workers: int) -> int:
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


def _evaluate(
    utkface: Path, model: Path | None, pictures: int | None, plot: Path | None, json_path: Path | None
) -> int:
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
        gray = _portrait()[:256, 100:356].copy()  # small enough that both predictors' answers are read the fast way
        report["time"] = time_landmarks(manifest, gray, viola_jones()(gray)[0])
        report["bytes"] = sum(p.stat().st_size for p in verified_files(manifest))
    from app.reports.landmarks import draw, table

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
