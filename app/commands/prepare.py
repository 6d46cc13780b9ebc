"""`prepare`: the faces of data sets, aligned once, with a validation split held out."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command, translated
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse

    from models.data.sets.base import DataSet


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "prepare",
        run,
        "Align the faces of data sets, and hold out a validation set.",
        "prepare --utkface UTKFace --fer2013 fer2013 --out cache/faces",
    )
    _add_data_sets(p)
    p.add_argument(
        "--detector",
        type=Path,
        metavar="FILE.dat",
        help="dlib's CNN face detector instead of its HOG one; not for utkface and fer2013",
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


def _add_data_sets(p: argparse.ArgumentParser) -> None:
    """Options for each data set: its folder, and which pictures are taken."""
    p.add_argument("--utkface", type=Path, metavar="DIR", help="folder of UTKFace's aligned and cropped pictures")
    p.add_argument(
        "--fer2013",
        type=Path,
        metavar="DIR",
        help="folder with train/ and validation/, a folder per expression in each",
    )
    p.add_argument(
        "--ferplus", type=Path, metavar="CSV", help="fer2013: FER+'s votes, to train on instead of its labels"
    )
    p.add_argument(
        "--without",
        type=Path,
        metavar="NAMES.txt",
        help="fer2013: leave these pictures out, a path ending in SPLIT/LABEL/NAME a line: those with a near twin in training",
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


def run(args: argparse.Namespace) -> int:
    if not any((args.utkface, args.fer2013, args.imdb_wiki, args.appa_real, args.csv, args.folder)):
        raise UsageError("give a data set: --utkface, --fer2013, --imdb-wiki, --appa-real, --csv or --folder")
    if (args.ferplus or args.without) and not args.fer2013:
        raise UsageError("--ferplus and --without go with --fer2013")
    if args.mean_shape and not args.utkface:
        raise UsageError("--mean-shape goes with --utkface")
    if args.workers < 1:
        raise UsageError(f"--workers must be at least 1, got {args.workers}")
    if not 40 <= args.view_size <= 640:
        raise UsageError(f"--view-size must be from 40 to 640 px, got {args.view_size}")
    from tqdm import tqdm

    with translated():
        from models.data import views as data
        from models.data.sets import appa_real, fer2013, imdb_wiki, own, utkface

        if args.mean_shape:
            check_writable(args.mean_shape)
            return _measure_mean_shape(args.mean_shape, utkface.read(args.utkface), args.workers)
        scores = {"min_score": args.min_face_score, "max_second_score": args.max_second_score}
        scores = {name: value for name, value in scores.items() if value is not None}
        sets = [
            *([utkface.read(args.utkface)] if args.utkface else []),
            *([fer2013.read(args.fer2013, args.ferplus, args.without)] if args.fer2013 else []),
            *(imdb_wiki.read(root, **scores) for root in args.imdb_wiki),
            *([appa_real.read(args.appa_real, real_age=args.real_age)] if args.appa_real else []),
            *(own.read_csv(path) for path in args.csv),
            *(own.read_folder(root) for root in args.folder),
        ]
        names = [one.name for one in sets]
        if len(set(names)) < len(names):
            raise UsageError(f"two data sets have one name, which their files are called by: {', '.join(names)}")
        for dataset in sets:
            if args.detector and dataset.placing.poses:
                dataset = replace(dataset, placing=replace(dataset.placing, detector=args.detector))
            held_out = data.held_out_of(dataset, progress=tqdm)
            total = len(dataset.samples)
            print(f"{dataset.name}: {total} pictures, {held_out.sum()} held out")
            bar = partial(tqdm, total=total)
            data.prepare(dataset, held_out, args.out, args.workers, bar, args.view_size)
            print("\n".join(dataset.report.lines()))
    return 0


def _measure_mean_shape(path: Path, dataset: DataSet, workers: int) -> int:
    from tqdm import tqdm

    from models.data import locate
    from models.data import views as data

    held_out = data.held_out_of(dataset, progress=tqdm)
    used = [s for s, held in zip(dataset.samples, held_out, strict=True) if not held][::8]
    shape = locate.measure_mean_shape(used, dataset.placing, workers, lambda it: tqdm(it, total=len(used)))
    about = (
        f"Symmetric Procrustes mean of the 47 landmarks on {len(used)} UTKFace training pictures (every "
        "eighth); eyes one unit apart, x right, y down. Made by `main.py prepare --mean-shape`."
    )
    path.write_text(json.dumps({"about": about, "points": shape.round(6).tolist()}, indent=1) + "\n", encoding="utf-8")
    return 0
