"""`study`: the paper's claims, asked again on your data. The studies are in models/, the answers on the screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command, key_value, training_errors
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse

RECIPE = Path(__file__).parents[2] / "models" / "configs" / "paper_mobilenet_v1.toml"


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "study",
        lambda args: args.study(args),
        "Test the paper's claims again. Its Table I and Fig. 6, and whether elastic training makes the last exit better.",
        "study regularisation --faces cache/faces --initial mobilenet_0.25_imdb64.npz --out runs/regularisation",
    )
    which = p.add_subparsers(
        title="studies", required=True, metavar="WHAT", help="`main.py study WHAT --help` lists its options"
    )
    about = "Does elastic training make the last exit better? Paired trainings in up to four arms, and what follows."
    one = which.add_parser("regularisation", help=about, description=about)
    one.set_defaults(study=regularisation)
    _add_regularisation(one)
    about = "Table I and Fig. 6: train the paper's networks with exits and without, judge them, and print theirs beside ours."
    two = which.add_parser("table-one", help=about, description=about)
    two.set_defaults(study=table_one)
    _add_table_one(two)


def _add_regularisation(p: argparse.ArgumentParser) -> None:
    p.add_argument("--faces", type=Path, metavar="DIR", help="what `prepare` wrote")
    p.add_argument("--set", dest="dataset", default="utkface", metavar="NAME", help="which set of it; default utkface")
    p.add_argument(
        "--backbone",
        default="mobilenet_v1",
        help="mobilenet_v1, resnet50, inception_v3, vgg16, or any other as module:callable; default mobilenet_v1",
    )
    p.add_argument(
        "--option",
        dest="options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="handed to the backbone, as often as needed; default alpha=0.25 for mobilenet_v1",
    )
    p.add_argument(
        "--initial", type=Path, metavar="WEIGHTS", help="what every arm starts from, as in `train`; default: at random"
    )
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the study's folder; finished seeds in it are not trained again",
    )
    p.add_argument(
        "--arms",
        default="last,elastic,stopped,divided",
        help="what is compared: last and some of elastic, stopped, divided; default all",
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
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    p.add_argument(
        "--threads",
        type=int,
        default=2,
        metavar="N",
        help="how many arms are trained at a time, one core each; default 2",
    )
    p.add_argument("--report", action="store_true", help="train nothing: only report what the folder holds")


def _add_table_one(p: argparse.ArgumentParser) -> None:
    p.add_argument("--faces", type=Path, required=True, metavar="DIR", help="what `prepare` wrote of the recipe's sets")
    p.add_argument("--root", type=Path, required=True, metavar="DIR", help="the test set's folder, as in `evaluate`")
    p.add_argument("--dataset", default="appa_real", choices=("appa_real", "utkface", "csv"), help="default appa_real")
    p.add_argument("--split", default="test", help="of appa_real; default test")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the study's folder, with one folder per network; finished ones are not trained again",
    )
    p.add_argument(
        "--recipe",
        type=Path,
        default=RECIPE,
        metavar="FILE",
        help="a configuration with [protocol]; of its [network] only the input size counts; default the paper's",
    )
    p.add_argument(
        "--initial",
        action="append",
        default=[],
        metavar="NETWORK=WEIGHTS",
        help="what a network starts from, as often as needed: resnet50=FILE, mobilenet_0.75=FILE; the others start at random",
    )
    p.add_argument("--only", nargs="+", metavar="NAME", help="only these: resnet50_exits, vgg16_plain, ...")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    p.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs that share each batch; default 1")
    p.add_argument("--half", action="store_true", help="bfloat16 where it is safe")
    p.add_argument("--report", action="store_true", help="train nothing: only report what the folder holds")


def table_one(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    if args.devices < 1:
        raise UsageError(f"--devices must be at least 1, got {args.devices}")
    initial = {network: Path(str(file)) for network, file in map(key_value, args.initial)}
    args.out.mkdir(parents=True, exist_ok=True)
    check_writable(args.out / "table-one.md")
    with training_errors():
        from models.judging.evaluate import Pictures
        from models.shipping.table_one import ENTRIES, Plan, finished_rows, make_table
        from models.training.loop import Hardware

        names = {entry.name: entry for entry in ENTRIES}
        unknown = sorted(set(args.only or ()) - set(names))
        if unknown:
            raise UsageError(f"--only {unknown[0]}: known are {', '.join(names)}")
        plan = Plan(
            recipe=args.recipe,
            faces=args.faces,
            pictures=Pictures(dataset=args.dataset, root=args.root, split=args.split),
            out=args.out,
            initial=initial,
            hardware=Hardware(device=args.device, devices=args.devices, half=args.half),
        )
        if not args.report:
            wanted = [entry for name, entry in names.items() if not args.only or name in args.only]
            for row in make_table(plan, wanted, lambda *it, **k: tqdm(*it, dynamic_ncols=True, **k)):
                last = list(row["exits"].values())[-1]
                said = ", ".join(f"{k} {last[k]:.3f}" for k in ("mae", "epsilon") if k in last)
                print(f"{row['network']} {'with' if row['elastic'] else 'without'} exits: {said}", flush=True)
        rows = finished_rows(plan)
    if not rows:
        raise UsageError(f"{args.out} holds no finished network yet: leave --report out")
    _write_table(args, rows)
    return 0


def _write_table(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """table-one.md, table-one.json and fig6.png."""
    from models.judging.table_one_report import draw, markdown

    at_random = [row["network"] for row in rows if row["initial"] == "at random" and row["elastic"]]
    about = [
        f"Recipe {args.recipe.name}, input {rows[0]['size']} px, {rows[0]['pictures']:,} test pictures of {args.dataset}.",
        f"Started at random: {', '.join(at_random)}." if at_random else "All started from pre-trained weights.",
    ]
    text = "\n".join(markdown(rows, about)) + "\n"
    (args.out / "table-one.md").write_text(text, encoding="utf-8")
    (args.out / "table-one.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    draw(rows, args.out / "fig6.png")
    print(text)
    print(f"written to {args.out}: table-one.md, table-one.json, fig6.png")


def regularisation(args: argparse.Namespace) -> int:
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
    out = args.out
    with training_errors():
        from models.judging.regularisation_report import make_report, markdown

        if not args.report:
            _train(args, count)
        report = make_report(out)
    text = "\n".join(markdown(report)) + "\n"
    for name, content in (("report.md", text), ("report.json", json.dumps(report, indent=1) + "\n")):
        check_writable(out / name)
        (out / name).write_text(content, encoding="utf-8")
    print(text)
    print(f"written to {out / 'report.md'} and {out / 'report.json'}")
    if any(one["equal"] is not None and one["equal"] < len(one["seeds"]) for one in report["sizes"]):
        raise ModelError(
            "elastic training on stopped gradients differs from training the last exit alone, which it must not: "
            "the arms were not trained alike, so do not trust this study's figures"
        )
    return 0


def _train(args: argparse.Namespace, count: int | None) -> None:
    from tqdm import tqdm

    from models.judging.regularisation_report import RESULTS
    from models.training.regularisation import Recipe, Workers, run_study

    options: dict[str, Any] = dict(map(key_value, args.options))
    if args.backbone == "mobilenet_v1":
        options.setdefault("alpha", 0.25)
    recipe = Recipe(
        epochs=args.epochs or 0,
        learning_rate=args.learning_rate,
        size=args.size,
        backbone=args.backbone,
        options=options,
        dataset=args.dataset,
        arms=tuple(args.arms.split(",")),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    check_writable(args.out / RESULTS)
    run_study(
        args.faces,
        args.initial,
        args.out,
        count=count,
        seeds=args.seeds,
        recipe=recipe,
        workers=Workers(device=args.device, threads=args.threads),
        progress=lambda **k: tqdm(dynamic_ncols=True, **k),
    )


def _count(text: str) -> int | None:
    """Faces to train on; None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--train-faces must be a number above 0, or all; got {text}")
    return int(text)
