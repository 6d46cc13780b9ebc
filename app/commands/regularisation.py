"""`study-elastic`: does elastic training make the last exit better? The study is in models/, the answer on the screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from app.commands.networks import training_errors
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from pathlib import Path


def study_elastic(
    out: Path,
    faces: Path | None,
    initial: Path | None,
    train_faces: str,
    seeds: int,
    epochs: int | None,
    learning_rate: float,
    size: int,
    alpha: float,
    device: str,
    threads: int,
    report_only: bool,
) -> int:
    from tqdm import tqdm

    count = _count(train_faces)
    for option, number, least in (
        ("--seeds", seeds, 1),
        ("--epochs", 1 if epochs is None else epochs, 1),
        ("--size", size, 32),
        ("--threads", threads, 1),
    ):
        if number < least:
            raise UsageError(f"{option} must be at least {least}, got {number}")
    if not 0 < learning_rate <= 1:
        raise UsageError(f"--learning-rate must be above 0 and at most 1, got {learning_rate:g}")
    if faces is None and not report_only:
        raise UsageError("--faces says where `prepare` left the faces; with --report alone it is not needed")
    with training_errors():
        from models.judging.regularisation_report import RESULTS, make_report, markdown
        from models.training.regularisation import Recipe, Workers, run_study

        if not report_only:
            out.mkdir(parents=True, exist_ok=True)
            check_writable(out / RESULTS)
            run_study(
                faces,
                initial,
                out,
                count=count,
                seeds=seeds,
                recipe=Recipe(epochs=epochs or 0, learning_rate=learning_rate, size=size, alpha=alpha),
                workers=Workers(device=device, threads=threads),
                progress=lambda **k: tqdm(dynamic_ncols=True, **k),
            )
        report = make_report(out)
    text = "\n".join(markdown(report)) + "\n"
    for name, content in (("report.md", text), ("report.json", json.dumps(report, indent=1) + "\n")):
        check_writable(out / name)
        (out / name).write_text(content, encoding="utf-8")
    print(text)
    print(f"written to {out / 'report.md'} and {out / 'report.json'}")
    if any(one["equal"] < len(one["seeds"]) for one in report["sizes"]):
        raise ModelError(
            "elastic training on stopped gradients differs from training the last exit alone, which it must not: "
            "the arms were not trained alike, so do not trust this study's figures"
        )
    return 0


def _count(text: str) -> int | None:
    """Faces to train on; None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--train-faces must be a number above 0, or all; got {text}")
    return int(text)
