"""Networks that are there: what ships, how good it is, what it costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.command import command
from app.errors import UsageError
from models.manifest import DEFAULT_MODEL


def add_models(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "models",
        _models,
        "List the shipped networks: size, inputs, exits, cost, figures of the best and the cheapest point, licence.",
        "models",
    )
    p.add_argument("--folder", type=Path, metavar="DIR", help="list the networks that `export` wrote there instead")
    p.add_argument("--json", action="store_true", help="print it as JSON")


def _models(args: argparse.Namespace) -> int:
    from app.commands import models

    return models.models(args.folder, args.json)


def add_card(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "card",
        _card,
        "Rewrite the figures in a network's model card (NAME.md beside its manifest) from reports of `evaluate`.",
        "card --model mobilenet_v1_075 --report utkface.json fer2013.json",
    )
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"a shipped network's name, or the path of a manifest; default {DEFAULT_MODEL}",
    )
    p.add_argument(
        "--report",
        type=Path,
        nargs="+",
        required=True,
        metavar="JSON",
        help="what `evaluate --json` wrote of this network, over all its input sizes: one with ages, one with expressions",
    )


def _card(args: argparse.Namespace) -> int:
    from app.commands import models

    return models.card(args.model, args.report)


def add_evaluate(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "evaluate",
        _evaluate,
        "Figures per exit of a network file over a labelled data set.",
        "evaluate --dataset utkface --root UTKFace --list validation.txt --json figures.json",
    )
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"a shipped network's name, or the path of a manifest; default {DEFAULT_MODEL}",
    )
    p.add_argument(
        "--dataset",
        required=True,
        choices=("utkface", "fer2013", "appa_real"),
        help="utkface: age and gender; fer2013: expression; appa_real: apparent age, with the epsilon error",
    )
    p.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="DIR",
        help="the data set's folder; for fer2013 the one with train/ and validation/",
    )
    p.add_argument(
        "--split",
        default="validation",
        help="fer2013: which folder under --root; appa_real: train, validation or test; default validation",
    )
    p.add_argument("--list", type=Path, metavar="NAMES.txt", help="utkface: only these pictures, a file name a line")
    how = p.add_mutually_exclusive_group()
    how.add_argument(
        "--align", action="store_true", help="find face and landmarks in each picture, as in training (default)"
    )
    how.add_argument(
        "--aligned",
        action="store_true",
        help="pictures are chips that the data set's makers aligned: one fixed crop, no detector",
    )
    p.add_argument("--size", type=int, metavar="PX", help="input size; default: all that the network serves")
    p.add_argument("--plot", type=Path, metavar="OUT.png", help="error against multiply-adds, a line per input size")
    p.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="JSON", help="earlier reports to draw in the same plot"
    )
    p.add_argument(
        "--landmarks",
        default="ours",
        choices=("ours", "teacher", "both"),
        help="teacher: dlib's 68-point model instead of our own; both: what our own changes, picture by picture; default ours",
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write all figures as JSON")


def _evaluate(args: argparse.Namespace) -> int:
    if args.list and args.dataset != "utkface":
        raise UsageError("--list goes with --dataset utkface")
    if args.aligned and args.landmarks != "ours":
        raise UsageError("--aligned uses no landmarks: leave out --landmarks")
    from app.commands import networks

    return networks.evaluate(
        args.model,
        args.dataset,
        args.root,
        args.split,
        args.list,
        not args.aligned,
        args.size,
        args.landmarks,
        args.json,
        args.plot,
        args.beside,
    )


def add_export(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "export",
        _export,
        "Write a trained network as ONNX with its manifest, after comparing its outputs with torch's.",
        "export --run runs/mine --faces cache/faces --out models/weights",
    )
    p.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="a training's folder")
    p.add_argument(
        "--faces",
        type=Path,
        required=True,
        metavar="DIR",
        help="what `prepare` wrote: the manifest's figures come from its held-out faces",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="where NAME.onnx and NAME.json go")


def _export(args: argparse.Namespace) -> int:
    from app.commands import networks

    return networks.export(args.folder, args.faces, args.out)


def add_flops(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "flops",
        _flops,
        "Count multiply-adds: the paper's networks beside its Table II, or the exits of a configuration.",
        "flops --config models/configs/mobilenet_v1_075.toml --size 112",
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="count this network's exits instead")
    p.add_argument(
        "--size", type=int, metavar="PX", help="with --config: input size; default: each of the configuration's"
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def _flops(args: argparse.Namespace) -> int:
    if args.size is not None and not args.config:
        raise UsageError("--size goes with --config: the paper's table is about 224 px")
    if args.size is not None and args.size < 16:
        raise UsageError(f"--size must be at least 16, got {args.size}")
    from app.commands import flops

    return flops.flops(args.config, args.size, args.json)
