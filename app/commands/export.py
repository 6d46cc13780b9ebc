"""`export`: a trained network as ONNX with its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, training_errors

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "export",
        run,
        "Write a trained network as ONNX with its manifest. Its outputs are compared with torch's first.",
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


def run(args: argparse.Namespace) -> int:
    with training_errors():
        from models.shipping.export import export

        manifest = export(args.folder, args.faces, args.out)
    check = manifest.about["check"]
    print(
        f"wrote {manifest.network} and its manifest; on {check['pictures']} pictures its probabilities differ from "
        f"float64's by at most {check['of_the_file']:.1g} of themselves, torch's in float32 by {check['of_torch_float32']:.1g}"
    )
    return 0
