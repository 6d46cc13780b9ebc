"""`study-elastic`: does elastic training make the last exit better? The study is in models/, the answer on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, training_errors
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "study-elastic",
        run,
        "Does elastic training make the last exit better? Paired trainings in four arms, and what follows.",
        "study-elastic --faces cache/faces --initial mobilenet_0.25_imdb64.npz --out runs/regularisation --train-faces 4000 --seeds 5",
    )
    p.add_argument("--faces", type=Path, metavar="DIR", help="what `prepare` wrote of UTKFace")
    p.add_argument(
        "--initial",
        type=Path,
        metavar="WEIGHTS",
        help="Keras weights (.npz, .h5) that every arm starts from; default: at random",
    )
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the study's folder; seeds that it holds are not trained again",
    )
    p.add_argument(
        "--train-faces",
        default="4000",
        metavar="N",
        help="how many faces to train on, drawn anew for every seed, or all; default 4000",
    )
    p.add_argument("--seeds", type=int, default=5, metavar="N", help="trainings of each arm, seeds 1 to N; default 5")
    p.add_argument("--epochs", type=int, metavar="N", help="default 15 for up to 6000 faces, 3 for more")
    p.add_argument(
        "--learning-rate", type=float, default=0.1, metavar="RATE", help="the highest rate, of every arm; default 0.1"
    )
    p.add_argument("--size", type=int, default=64, metavar="PX", help="input size; default 64")
    p.add_argument(
        "--alpha",
        type=float,
        default=0.25,
        choices=(0.25, 0.5, 0.75, 1.0),
        help="width of the MobileNet v1; default 0.25",
    )
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    p.add_argument(
        "--threads",
        type=int,
        default=2,
        metavar="N",
        help="how many arms are trained at a time, one core each; default 2",
    )
    p.add_argument("--report", action="store_true", help="train nothing: only report what the folder holds")


def run(args: argparse.Namespace) -> int:
    count = _count(args.train_faces)
    for option, number, least in (
        ("--seeds", args.seeds, 1),
        ("--epochs", 1 if args.epochs is None else args.epochs, 1),
        ("--size", args.size, 32),
        ("--threads", args.threads, 1),
    ):
        if number < least:
            raise UsageError(f"{option} must be at least {least}, got {number}")
    if not 0 < args.learning_rate <= 1:
        raise UsageError(f"--learning-rate must be above 0 and at most 1, got {args.learning_rate:g}")
    if args.faces is None and not args.report:
        raise UsageError("--faces says where `prepare` left the faces; with --report alone it is not needed")
    from tqdm import tqdm

    out = args.out
    with training_errors():
        from models.judging.regularisation_report import RESULTS, make_report, markdown
        from models.training.regularisation import Recipe, Workers, run_study

        if not args.report:
            out.mkdir(parents=True, exist_ok=True)
            check_writable(out / RESULTS)
            recipe = Recipe(epochs=args.epochs or 0, learning_rate=args.learning_rate, size=args.size, alpha=args.alpha)
            run_study(
                args.faces,
                args.initial,
                out,
                count=count,
                seeds=args.seeds,
                recipe=recipe,
                workers=Workers(device=args.device, threads=args.threads),
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
