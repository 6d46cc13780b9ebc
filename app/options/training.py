"""Networks and landmarks that are made here."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.command import command
from app.errors import UsageError


def add_prepare(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "prepare",
        _prepare,
        "Align the faces of data sets once, and hold out a validation split.",
        "prepare --utkface UTKFace --fer2013 fer2013 --out cache/faces",
    )
    p.add_argument("--utkface", type=Path, metavar="DIR", help="folder of UTKFace's aligned and cropped pictures")
    p.add_argument(
        "--fer2013",
        type=Path,
        metavar="DIR",
        help="folder with train/ and validation/, a folder per expression in each",
    )
    p.add_argument(
        "--imdb-wiki", type=Path, metavar="DIR", action="append", default=[],
        help="folder with imdb.mat or wiki.mat and their pictures (imdb_crop, wiki_crop); may be given twice",
    )  # fmt: skip
    p.add_argument(
        "--min-face-score",
        type=float,
        metavar="S",
        help="imdb-wiki: leave out pictures whose face scores lower; default 1",
    )
    p.add_argument(
        "--max-second-score",
        type=float,
        metavar="S",
        help="imdb-wiki: leave out pictures whose second face scores higher; default 0",
    )
    p.add_argument(
        "--appa-real",
        type=Path,
        metavar="DIR",
        help="folder with gt_avg_train.csv, gt_avg_valid.csv and their pictures",
    )
    p.add_argument(
        "--real-age", action="store_true", help="appa-real: label with the person's age, not the mean of the guesses"
    )
    p.add_argument(
        "--csv", type=Path, metavar="FILE", action="append", default=[],
        help="your own pictures: columns file and age, age_std, gender, expression, split; may be given several times",
    )  # fmt: skip
    p.add_argument(
        "--folder", type=Path, metavar="DIR", action="append", default=[],
        help="your own pictures: a folder a label (an age, a gender, an expression); may be given several times",
    )  # fmt: skip
    p.add_argument(
        "--detector",
        type=Path,
        metavar="FILE.dat",
        help="dlib's CNN face detector to use instead of its HOG one, but for utkface and fer2013",
    )
    p.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the aligned faces go (77 kB a face, grey ones 26)"
    )
    p.add_argument(
        "--view-size",
        type=int,
        default=160,
        metavar="PX",
        help="size of the aligned faces, 1.25 times the largest input size; default 160",
    )
    p.add_argument("--workers", type=int, default=2, metavar="N", help="processes; default 2")
    p.add_argument(
        "--mean-shape",
        type=Path,
        metavar="OUT.json",
        help="only measure the mean landmark shape of UTKFace, from which the template is made",
    )


def _prepare(args: argparse.Namespace) -> int:
    sets = (args.utkface, args.fer2013, args.imdb_wiki, args.appa_real, args.csv, args.folder)
    if not any(sets):
        raise UsageError("give a data set: --utkface, --fer2013, --imdb-wiki, --appa-real, --csv or --folder")
    if args.mean_shape and not args.utkface:
        raise UsageError("--mean-shape goes with --utkface")
    from app.commands import networks

    return networks.prepare(**{name: value for name, value in vars(args).items() if name != "run"})


def add_train(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "train",
        _train,
        "Train an elastic network; goes on where an earlier training in the same folder stopped.",
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
        help="what to start from: Keras weights (.npz, .h5), an earlier training's folder, or a shipped network's manifest; default: at random",
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
        help="a shipped network to learn from beside the labels, as much as [loss] teacher in the configuration says",
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


def _train(args: argparse.Namespace) -> int:
    from app.commands import networks

    return networks.train(
        args.config,
        args.faces,
        args.out,
        args.initial,
        args.average_with,
        args.teacher,
        args.device,
        args.devices,
        args.half,
        args.plot,
        args.smoke,
    )


def add_train_landmarks(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "train-landmarks",
        _train_landmarks,
        "Train the landmark predictor with dlib's 68-point model as teacher, or measure the shipped one against it.",
        "train-landmarks --utkface UTKFace --out runs/landmarks",
    )
    p.add_argument(
        "--utkface", type=Path, required=True, metavar="DIR", help="folder of UTKFace's aligned and cropped pictures"
    )
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="the training's folder (0.2 GB per 1000 pictures); one that was stopped goes on where it was",
    )
    p.add_argument("--pictures", type=int, metavar="N", help="only so many pictures; default: all")
    p.add_argument("--workers", type=int, default=2, metavar="N", help="processes and threads; default 2")
    p.add_argument("--evaluate", action="store_true", help="only measure, on the pictures that `prepare` holds out")
    p.add_argument(
        "--model", type=Path, metavar="MANIFEST.json", help="with --evaluate: another predictor than the shipped one"
    )
    p.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="with --evaluate: draw the error over stray boxes and tilted heads"
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="with --evaluate: write all figures as JSON")


def _train_landmarks(args: argparse.Namespace) -> int:
    if not args.evaluate and (args.model or args.plot or args.json):
        raise UsageError("--model, --plot and --json go with --evaluate")
    from app.commands import landmarks

    if args.evaluate:
        return landmarks.evaluate(args.utkface, args.model, args.pictures, args.plot, args.json)
    return landmarks.train(args.utkface, args.out, args.pictures, args.workers)


def add_study_elastic(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "study-elastic",
        _study_elastic,
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


def _study_elastic(args: argparse.Namespace) -> int:
    from app.commands import regularisation

    return regularisation.study_elastic(
        args.out, args.faces, args.initial, args.train_faces, args.seeds, args.epochs, args.learning_rate, args.size,
        args.alpha, args.device, args.threads, args.report,
    )  # fmt: skip
