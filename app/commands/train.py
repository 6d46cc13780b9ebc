"""`train`: an elastic network, or its curves so far."""

from __future__ import annotations

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
        "train",
        run,
        "Train an elastic network. Goes on where an earlier training in the same folder stopped.",
        "train --config models/configs/mobilenet_v1_075.toml --faces cache/faces --initial mobilenet_0.75_imagenet.npz --out runs/mine",
    )
    p.add_argument("--config", type=Path, required=True, metavar="FILE", help="what to train: see models/configs/")
    p.add_argument("--faces", type=Path, required=True, metavar="DIR", help="what `prepare` wrote")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the training's folder: checkpoint, log.csv, validation.csv, events/ for `tensorboard --logdir`",
    )
    p.add_argument(
        "--initial",
        type=Path,
        metavar="WEIGHTS",
        help="what to start from: Keras weights (.npz, .h5), a state dict of the backbone's own library (.pth, .safetensors), an earlier training's folder, or a shipped network's manifest; default: at random",
    )
    p.add_argument(
        "--average-with",
        type=Path,
        metavar="WEIGHTS",
        help="start halfway between --initial and these, where both have weights",
    )
    p.add_argument(
        "--teacher",
        type=Path,
        metavar="MANIFEST",
        help="a shipped network whose answers count beside the labels; how much: `teacher` under [loss] in the configuration",
    )
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default cpu")
    p.add_argument(
        "--devices", type=int, default=1, metavar="N", help="GPUs, or CPU processes, that share each batch; default 1"
    )
    p.add_argument("--half", action="store_true", help="bfloat16 where it is safe")
    p.add_argument(
        "--smoke",
        action="store_true",
        help="only try a few steps, a resume and a validation; keeps nothing (a teacher is asked about all faces first)",
    )
    p.add_argument("--plot", type=Path, metavar="OUT.png", help="only draw the training's curves so far")


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    if args.devices < 1:
        raise UsageError(f"--devices must be at least 1, got {args.devices}")
    with training_errors():
        from models.training.config import Config, TrainingError
        from models.training.curves import draw_curves
        from models.training.loop import Hardware, Start
        from models.training.protocol import train_by_protocol
        from models.training.train import smoke, train

        if args.plot:
            check_writable(args.plot)
            draw_curves(args.out, args.plot)
            return 0
        options: dict[str, Any] = {
            "start": Start(initial=args.initial, average_with=args.average_with),
            "hardware": Hardware(device=args.device, devices=args.devices, half=args.half),
        }
        training = train_by_protocol if Config.read(args.config).protocol else train
        if training is train:
            options["teacher"] = args.teacher
        elif args.teacher:
            raise TrainingError("--teacher goes with a configuration that has an [optimiser]")
        if args.smoke:
            for name, value in smoke(training, args.config, args.faces, **options).items():
                print(f"{name}: {value:.2f}")
            print("all parts fit: nothing was kept")
        else:
            training(args.config, args.faces, args.out, **options, progress=lambda **k: tqdm(dynamic_ncols=True, **k))
    return 0
