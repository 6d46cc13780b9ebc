"""`export`: a trained network as ONNX with its manifest, or a network as what a server loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, training_errors
from app.errors import UsageError
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "export",
        run,
        "Write a trained network as ONNX with its manifest, or for a Triton server.",
        "export --run runs/mine --faces cache/faces --out models/weights",
    )
    p.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="a training's folder")
    p.add_argument(
        "--faces",
        type=Path,
        metavar="DIR",
        help="what `prepare` wrote: the manifest's figures come from its held-out faces",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where NAME.onnx and NAME.json go")
    p.add_argument(
        "--triton", type=Path, metavar="DIR", help="instead: write the models that a server loads for `run --server`"
    )
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="with --triton: a shipped network's name, or the path of a manifest"
    )


def run(args: argparse.Namespace) -> int:
    """Raises AppError."""
    trained = (args.folder, args.faces, args.out)
    if args.triton and not any(trained):
        return _repository(args.model, args.triton)
    if args.triton or not all(trained):
        raise UsageError("export takes --run, --faces and --out, or --triton alone")
    with training_errors():
        from models.shipping.export import export

        manifest = export(args.folder, args.faces, args.out)
    check = manifest.about["check"]
    print(
        f"wrote {manifest.network} and its manifest; on {check['pictures']} pictures its probabilities differ from "
        f"float64's by at most {check['of_the_file']:.1g} of themselves, torch's in float32 by {check['of_torch_float32']:.1g}"
    )
    return 0


def _repository(model: str, folder: Path) -> int:
    from app.compose import load_manifest
    from app.network.calibrate import candidates
    from app.network.triton import write_repository

    manifest = load_manifest(model)
    names = write_repository(manifest, candidates(manifest), folder)
    print(f"wrote {len(names)} models, one for each operating point that `run` may choose, to {folder}")
    print(f"serve them: tritonserver --model-repository={folder}; then run --server grpc://HOST:8001")
    return 0
