"""`prepare`, `train`, `export` and `evaluate`: errors of models/ become the application's."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from app.errors import ModelError, OutputError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from models.data.sets.base import DataSet


@contextmanager
def translated() -> Iterator[None]:
    """Errors of models/ and of the file system as the application's."""
    from models.data.sets.base import DataError
    from models.manifest import ManifestError

    try:
        yield
    except (DataError, ManifestError, UnicodeDecodeError) as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error


@contextmanager
def training_errors() -> Iterator[None]:
    """Also says what to install where torch is missing."""
    if not find_spec("torch"):
        raise UsageError("this command needs PyTorch: run `pip install -r models/requirements.txt`")
    from models.networks.keras_weights import WeightsError
    from models.shipping.export import ExportError
    from models.training.config import TrainingError

    with translated():
        try:
            yield
        except (ExportError, TrainingError, WeightsError) as error:
            raise ModelError(str(error)) from error


def prepare(
    out: Path,
    *,
    utkface: Path | None = None,
    fer2013: Path | None = None,
    imdb_wiki: Sequence[Path] = (),
    appa_real: Path | None = None,
    csv: Sequence[Path] = (),
    folder: Sequence[Path] = (),
    real_age: bool = False,
    min_face_score: float | None = None,
    max_second_score: float | None = None,
    detector: Path | None = None,
    workers: int = 2,
    mean_shape: Path | None = None,
    view_size: int = 160,
) -> int:
    from tqdm import tqdm

    if workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}")
    if not 40 <= view_size <= 640:
        raise UsageError(f"--view-size must be from 40 to 640 px, got {view_size}")
    with translated():
        from models.data import views as data
        from models.data.sets import appa_real as appa
        from models.data.sets import fer2013 as fer
        from models.data.sets import imdb_wiki as imdb
        from models.data.sets import own
        from models.data.sets import utkface as utk

        if mean_shape:
            check_writable(mean_shape)
            return _measure_mean_shape(mean_shape, utk.read(utkface), workers)
        scores = {"min_score": min_face_score, "max_second_score": max_second_score}
        scores = {name: value for name, value in scores.items() if value is not None}
        sets = [
            *([utk.read(utkface)] if utkface else []),
            *([fer.read(fer2013)] if fer2013 else []),
            *(imdb.read(root, **scores) for root in imdb_wiki),
            *([appa.read(appa_real, real_age=real_age)] if appa_real else []),
            *(own.read_csv(path) for path in csv),
            *(own.read_folder(root) for root in folder),
        ]
        names = [one.name for one in sets]
        if len(set(names)) < len(names):
            raise UsageError(f"two data sets have one name, which their files are called by: {', '.join(names)}")
        for dataset in sets:
            if detector and dataset.placing.poses:
                dataset = replace(dataset, placing=replace(dataset.placing, detector=detector))
            held_out = data.held_out_of(dataset, progress=tqdm)
            print(f"{dataset.name}: {len(dataset.samples)} pictures, {held_out.sum()} held out")
            total = len(dataset.samples)
            data.prepare(dataset, held_out, out, workers, lambda it, total=total: tqdm(it, total=total), view_size)
            print("\n".join(dataset.report.lines()))
    return 0


def _measure_mean_shape(path: Path, dataset: DataSet, workers: int) -> int:
    from tqdm import tqdm

    from models.data import locate
    from models.data import views as data

    held_out = data.held_out_of(dataset, progress=tqdm)
    used = [s for s, held in zip(dataset.samples, held_out, strict=True) if not held][::8]
    shape = locate.measure_mean_shape(used, dataset.placing, workers, lambda it: tqdm(it, total=len(used)))
    about = (
        f"Symmetric Procrustes mean of the 47 landmarks on {len(used)} UTKFace training pictures (every "
        "eighth); eyes one unit apart, x right, y down. Made by `main.py prepare --mean-shape`."
    )
    path.write_text(json.dumps({"about": about, "points": shape.round(6).tolist()}, indent=1) + "\n", encoding="utf-8")
    return 0


def train(
    config: Path,
    faces: Path,
    out: Path,
    initial: Path | None,
    average_with: Path | None,
    teacher: Path | None,
    device: str,
    devices: int,
    half: bool,
    plot: Path | None,
    smoke: bool,
) -> int:
    from tqdm import tqdm

    if devices < 1:
        raise UsageError(f"--devices must be at least 1, got {devices}")
    with training_errors():
        from models.training.config import Config, TrainingError
        from models.training.curves import draw_curves
        from models.training.loop import Hardware, Start
        from models.training.protocol import train_by_protocol
        from models.training.train import smoke as try_out
        from models.training.train import train as train_by_recipe

        if plot:
            check_writable(plot)
            draw_curves(out, plot)
            return 0
        options: dict[str, Any] = {
            "start": Start(initial=initial, average_with=average_with),
            "hardware": Hardware(device=device, devices=devices, half=half),
        }
        training = train_by_protocol if Config.read(config).protocol else train_by_recipe
        if training is train_by_recipe:
            options["teacher"] = teacher
        elif teacher:
            raise TrainingError("--teacher goes with a configuration that has an [optimiser]")
        if smoke:
            for name, value in try_out(training, config, faces, **options).items():
                print(f"{name}: {value:.2f}")
            print("all parts fit: nothing was kept")
        else:
            training(config, faces, out, **options, progress=lambda **k: tqdm(dynamic_ncols=True, **k))
    return 0


def export(folder: Path, faces: Path, out: Path) -> int:
    with training_errors():
        from models.shipping.export import export as export_network

        manifest = export_network(folder, faces, out)
    difference = manifest.about["largest_difference_to_torch"]
    print(f"wrote {manifest.network} and its manifest; outputs differ from torch's by at most {difference:.1g}")
    return 0


def evaluate(
    model: str,
    dataset: str,
    root: Path,
    split: str,
    names: Path | None,
    align: bool,
    size: int | None,
    landmarks: str,
    json_path: Path | None,
    plot: Path | None,
    beside: list[Path],
) -> int:
    from tqdm import tqdm

    if plot and landmarks == "both":
        raise UsageError("--plot draws one predictor's figures: leave out --landmarks both")
    for path in filter(None, (json_path, plot)):
        check_writable(path)
    others = [_read_report(path) for path in beside]
    with translated():
        from align.landmarks import LandmarkModelError
        from models.judging.compare_landmarks import compare_landmarks, comparison_table
        from models.judging.evaluate import Pictures
        from models.judging.evaluate import evaluate as evaluate_network
        from models.judging.figures import draw, table
        from models.manifest import Manifest, find_manifest

        manifest = Manifest.read(find_manifest(model))
        try:
            wanted = names.read_text(encoding="utf-8").splitlines() if names else None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--list {names} cannot be read as a list of file names: {error}") from error
        pictures = Pictures(dataset=dataset, root=root, split=split, names=wanted)
        options = {"align": align, "size": size, "progress": tqdm}
        try:
            if landmarks == "both":
                report = compare_landmarks(manifest, pictures, **options)
            else:
                report = evaluate_network(manifest, pictures, teacher=landmarks == "teacher", **options)
        except LandmarkModelError as error:
            raise ModelError(str(error)) from error
    report["split"] = names.name if names else "every picture" if dataset == "utkface" else split
    for line in (comparison_table if landmarks == "both" else table)(report):
        print(line)
    text = json.dumps(report, indent=1)
    if json_path:
        json_path.write_text(text + "\n", encoding="utf-8")
    if plot:
        draw([*others, json.loads(text)], plot)
    return 0


def _read_report(path: Path) -> dict[str, Any]:
    """What an earlier `evaluate --json` wrote."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for exits in report["figures"].values() for row in exits.values()]
        report["model"], report["multiply_adds"].items(), rows[0].items()
    except (OSError, UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"--beside {path} is no report of `evaluate --json`: {error}") from error
    return report
