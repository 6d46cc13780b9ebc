"""`flops`: the paper's Table II beside ours, or what the exits of a configuration cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command, training_errors
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "flops",
        run,
        "Count multiply-adds. The paper's networks beside its Table II, or the exits of a configuration.",
        "flops --config models/configs/mobilenet_v1_075.toml --size 112",
    )
    p.add_argument("--config", type=Path, metavar="FILE", help="count this network's exits instead")
    p.add_argument(
        "--size", type=int, metavar="PX", help="with --config: input size; default: each of the configuration's"
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def run(args: argparse.Namespace) -> int:
    if args.size is not None and not args.config:
        raise UsageError("--size goes with --config: the paper's table is about 224 px")
    if args.size is not None and args.size < 16:
        raise UsageError(f"--size must be at least 16, got {args.size}")
    if args.json:
        check_writable(args.json)
    with training_errors():
        lines = _of_configuration(args.config, args.size) if args.config else _of_the_paper()
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return 0


def _of_the_paper() -> list[dict[str, Any]]:
    from models.networks.flops import PAPER_SIZE, table_ii

    lines = table_ii()
    print(
        f"Multiply-adds at {PAPER_SIZE} px, convolutions and dense layers. Our convention: without the first convolution."
    )
    print("Reduction: what stopping at the first exit saves of the last exit's multiply-adds.")
    groups = (("paper", ""), ("without stem", f"{'':8}"), ("with stem", f"{'':8}"))
    print(f"{'network':25}{'exit':9}" + "".join(f"{name:>13}{gap}{'reduction':>11}" for name, gap in groups))
    for line in lines:
        cells = [f"{line['paper']:13.2e}{_share(line, 'paper')}"]
        for kind in ("without_stem", "with_stem"):
            cells.append(f"{line[kind]:13.3e}{line[f'{kind}_difference']:+8.1%}{_share(line, kind)}")
        print(f"{line['network']:25}{line['exit']:9}{''.join(cells)}  {line['note']}".rstrip())
    return lines


def _share(line: dict[str, Any], kind: str) -> str:
    return f"{line[f'{kind}_reduction']:11.1%}" if f"{kind}_reduction" in line else f"{'':11}"


def _of_configuration(config: Path, size: int | None) -> list[dict[str, Any]]:
    from models.networks.flops import multiply_adds
    from models.training.config import Config

    chosen = Config.read(config)
    network, lines = chosen.build(), []
    least = getattr(network.backbone, "minimum_size", 16)
    if size and size < least:
        raise UsageError(f"--size must be at least {least} for {chosen.network['backbone']}, got {size}")
    for px in [size] if size else chosen.input_sizes:
        whole, without = multiply_adds(network, px), multiply_adds(network, px, stem=False)
        print(f"{chosen.name} at {px} px: multiply-adds per face, and without the first convolution")
        for name in whole:
            print(f"{name:9}{whole[name]:16,}{without[name]:16,}")
            lines.append({"size": px, "exit": name, "with_stem": whole[name], "without_stem": without[name]})
    return lines
