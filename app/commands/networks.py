"""`networks`: the blocks that are found in a network that is to be made elastic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, key_value, training_errors
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "networks",
        run,
        "Find the blocks of any PyTorch network that can have an exit. Shows what each gives, and what it costs to get there.",
        "networks inspect torchvision.models:resnet18 --option weights=IMAGENET1K_V1 --size 96",
    )
    p.add_argument("what", choices=("inspect",), help="inspect: list the blocks that are found, or that --taps names")
    p.add_argument(
        "backbone",
        help="mobilenet_v1, resnet50, inception_v3, vgg16, or any other as module:callable, e.g. timm:create_model",
    )
    p.add_argument(
        "--option",
        dest="options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="handed to the callable, as often as needed; VALUE as in TOML, or plain text",
    )
    p.add_argument(
        "--taps", nargs="+", metavar="PATH", help="modules whose outputs are block outputs; default: they are searched"
    )
    p.add_argument("--size", type=int, default=96, metavar="PX", help="input size; default 96")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def run(args: argparse.Namespace) -> int:
    if args.size < 16:
        raise UsageError(f"--size must be at least 16, got {args.size}")
    if args.json:
        check_writable(args.json)
    options = dict(map(key_value, args.options))
    with training_errors():
        from models.networks.backbones import build_backbone
        from models.networks.inspect import inspect_backbone

        try:
            lines = inspect_backbone(build_backbone(args.backbone, args.taps, args.size, **options), args.size)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{args.backbone}: {error}") from error
    width = max(len(line["path"]) for line in lines)
    print(f"{args.backbone} at {args.size} px: {len(lines)} blocks; * has an exit by the paper's rule")
    print(f"{'block':>6}  {'module':{width}}  {'output':>16}  {'layout':8}{'multiply-adds':>15}{'share':>7}")
    for line in lines:
        shape = "x".join(map(str, line["shape"]))
        print(
            f"{line['block']:5}{'*' if line['is_exit'] else ' '}  {line['path']:{width}}  {shape:>16}  {line['layout']:8}"
            f"{line['multiply_adds']:15,}{line['share']:7.0%}  {line['class']}"
        )
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return 0
