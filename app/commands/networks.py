"""`prepare`, `train`, `export` and `evaluate`: errors of models/ become the application's."""

from __future__ import annotations

import json
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from app.errors import ModelError, OutputError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def _translated() -> Iterator[None]:
    from models.data import DataError
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
    from models.config import TrainingError
    from models.export import ExportError
    from models.keras_weights import WeightsError

    with _translated():
        try:
            yield
        except (ExportError, TrainingError, WeightsError) as error:
            raise ModelError(str(error)) from error


def prepare(utkface: Path | None, fer2013: Path | None, out: Path, workers: int, mean_shape: Path | None) -> int:
    import numpy as np
    from tqdm import tqdm

    from models import data

    if workers < 1:
        raise UsageError(f"--workers must be at least 1, got {workers}")
    with _translated():
        if utkface:
            samples, report = data.read_utkface(utkface)
            groups = data.near_duplicates(samples, progress=tqdm)
            held_out = data.validation_mask(samples, groups)
            print(
                f"UTKFace: {len(samples)} pictures in {groups.max() + 1} groups of near duplicates, {held_out.sum()} held out"
            )
            if mean_shape:
                check_writable(mean_shape)
                used = [s for s, held in zip(samples, held_out, strict=True) if not held][::8]
                shape = data.measure_mean_shape(used, "utkface", workers, lambda it: tqdm(it, total=len(used)))
                about = (
                    f"Symmetric Procrustes mean of the 47 landmarks on {len(used)} UTKFace training pictures (every "
                    "eighth); eyes one unit apart, x right, y down. Made by `main.py prepare --mean-shape`."
                )
                mean_shape.write_text(
                    json.dumps({"about": about, "points": shape.round(6).tolist()}, indent=1) + "\n", encoding="utf-8"
                )
                return 0
            data.prepare(
                "utkface", samples, held_out, False, out, report, workers, lambda it: tqdm(it, total=len(samples))
            )
            print("\n".join(report.lines()))
        if fer2013:
            train_set, report = data.read_fer2013(fer2013, "train")
            public, more = data.read_fer2013(fer2013, "validation")
            report.read += more.read
            held_out = np.arange(len(train_set) + len(public)) >= len(train_set)
            both = train_set + public
            data.prepare("fer2013", both, held_out, True, out, report, workers, lambda it: tqdm(it, total=len(both)))
            print("\n".join(report.lines()))
    return 0


def train(
    config: Path,
    faces: Path,
    out: Path,
    initial: Path | None,
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
        from models import train as training
        from models.curves import draw_curves

        if plot:
            check_writable(plot)
            draw_curves(out, plot)
        elif smoke:
            for name, value in training.smoke(config, faces, initial, device=device, half=half).items():
                print(f"{name}: {value:.2f}")
            print("all parts fit: nothing was kept")
        else:
            training.train(
                config,
                faces,
                out,
                initial,
                device=device,
                devices=devices,
                half=half,
                progress=lambda **k: tqdm(dynamic_ncols=True, **k),
            )
    return 0


def export(run: Path, faces: Path, out: Path) -> int:
    with training_errors():
        from models.export import export as export_network

        manifest = export_network(run, faces, out)
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
    json_path: Path | None,
    plot: Path | None,
    beside: list[Path],
) -> int:
    from tqdm import tqdm

    for path in filter(None, (json_path, plot)):
        check_writable(path)
    others = [_read_report(path) for path in beside]
    with _translated():
        from models.evaluate import evaluate as evaluate_network
        from models.figures import draw, table
        from models.manifest import Manifest, find_manifest

        manifest = Manifest.read(find_manifest(model))
        try:
            wanted = names.read_text(encoding="utf-8").splitlines() if names else None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--list {names} cannot be read as a list of file names: {error}") from error
        report = evaluate_network(
            manifest, dataset, root, split=split, names=wanted, align=align, size=size, progress=tqdm
        )
    for line in table(report):
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
