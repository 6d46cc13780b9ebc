"""Command line: flags to settings to an exit code. Exit codes are listed in errors.py; 0 is a clean end; Ctrl-C
ends a run cleanly once it has begun, and anything before that with 130."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app import config
from app.config import default_text
from app.errors import AppError, UsageError
from app.settings import options
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; errors become a message on stderr and the exit code of their kind."""
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args) or 0)
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output is gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Age, gender and expression of every face in view, at the frame rate asked for.",
        epilog="`main.py COMMAND --help` explains a command.",
    )
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        *(_add_run, _add_cameras, _add_doctor, _add_config, _add_calibrate, _add_replay, _add_simulate, _add_bench),
        *(_add_soak, _add_models, _add_evaluate, _add_card),
        *(_add_prepare, _add_train, _add_export, _add_flops, _add_train_landmarks),
        *(_add_study_elastic,),
    ):
        add(sub)
    return parser


def _command(
    sub: argparse._SubParsersAction, name: str, run: object, text: str, example: str
) -> argparse.ArgumentParser:
    parser = sub.add_parser(name, help=text, description=text, epilog=f"example: main.py {example}")
    parser.set_defaults(run=run)
    return parser


def _add_run(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "run",
        _run,
        "Watch a camera, a video or the demo crowd.",
        "run --source clip.mp4 --results results.jsonl --output annotated.mp4",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in options():
        if option.group not in groups:
            groups[option.group] = p.add_argument_group(option.group)
        group = groups[option.group]
        default = default_text(option)
        text = (option.help if default == "none" else f"{option.help}; default: {default}").replace("%", "%%")
        if option.kind is bool:
            group.add_argument(option.flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(option.flag, type=option.kind, metavar=option.metavar or None, help=text)
    _add_config_file(p)


def _run(args: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(args).items() if k not in ("run", "config")}
    loaded = config.load(given, args.config)
    print(f"settings  {loaded.summary()}")
    from app.commands import run

    return run.run(loaded.settings)


def _add_cameras(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "cameras",
        _cameras,
        "List the cameras by number and name, with their sizes and whether they are in use.",
        "cameras",
    )
    p.add_argument("--json", action="store_true", help="print it as JSON")


def _cameras(args: argparse.Namespace) -> int:
    from app.commands import cameras

    return cameras.cameras(args.json)


def _add_doctor(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "doctor",
        _doctor,
        "Check whether this machine has what `run` needs, and say what to do about what it lacks.",
        "doctor --device cuda",
    )
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="which to try; default auto: all")
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--json", action="store_true", help="print it as JSON")


def _doctor(args: argparse.Namespace) -> int:
    from app.commands import doctor

    return doctor.doctor(args.device, args.model, args.json)


def _add_config_file(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the options of `run`, - written as _; default: the user's own, where there is one",
    )


def _add_config(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "config",
        _config,
        "Show the settings in force and where each comes from, or write a configuration file to start from.",
        "config --write kiosk.toml",
    )
    _add_config_file(p)
    p.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="OUT.toml",
        help="write a file in which every setting stands at its default with a comment; default: the user's own file",
    )
    p.add_argument("--force", action="store_true", help="with --write: replace a file that is there")


def _config(args: argparse.Namespace) -> int:
    if args.force and args.write is None:
        raise UsageError("--force goes with --write")
    if args.write is None:
        loaded = config.load({}, args.config)
        print(f"# {loaded.file or f'no file: there is none at {config.default_file()}'}")
        print(config.in_force(loaded))
        return 0
    path = Path(args.write) if args.write else config.default_file()
    config.write(path, replace=args.force)
    print(f"{path} written: every setting at its default. `main.py config` shows what is in force.")
    if path != config.default_file():
        print(f"It is read with `--config {path}`.")
    return 0


def _add_replay(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "replay",
        _replay,
        "Decide every frame of a latency log again, as recorded or under another policy or budget.",
        "replay latency.jsonl --budget-ms 33 --plot replay.png",
    )
    p.add_argument("log", type=Path, help="a log written by `run --log`")
    p.add_argument("--budget-ms", type=float, metavar="MS", help="what another budget would have done")
    p.add_argument("--policy", help="what another policy would have done: auto, or an exit (exit_09, or 9)")
    p.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="draw faces, exits, latency and deadline over the frames"
    )
    p.add_argument("--rivals", action="store_true", help="every rival and the oracle over the same frames, in a table")
    p.add_argument(
        "--against",
        type=Path,
        metavar="LIVE.jsonl",
        help="simulate this other run's crowd with LOG's machine, and tell how far the two are apart",
    )
    p.add_argument("--report", type=Path, metavar="OUT.html", help="everything with pictures, in one file")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the figures as JSON")


def _replay(args: argparse.Namespace) -> int:
    from app.commands import replay

    return replay.replay_log(
        args.log, args.budget_ms, args.policy, args.plot, args.json,
        against=args.against, rivals=args.rivals, report=args.report,
    )  # fmt: skip


def _add_calibrate(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "calibrate",
        _calibrate,
        "Measure how long every operating point takes on this machine; remembered for `run`, and written as a file.",
        "calibrate --out profile.json",
    )
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default auto")
    p.add_argument(
        "--threads", type=int, metavar="N", help="threads for the network; default one less than there are cores"
    )
    p.add_argument("--out", type=Path, metavar="PROFILE.json", help="write the profile, for `run` and `simulate`")


def _calibrate(args: argparse.Namespace) -> int:
    if args.threads is not None and not 1 <= args.threads <= 256:
        raise UsageError(f"--threads must be from 1 to 256, got {args.threads}")
    from app.commands import calibrate

    return calibrate.calibrate(args.model, args.device, args.threads, args.out)


def _add_simulate(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "simulate",
        _simulate,
        "What a machine would do with a crowd, under one rule or all of them, from its profile alone.",
        "simulate --profile profile.json --crowd const:20 --budget-ms 33",
    )
    p.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="a profile, or a log (.jsonl) or the --json of `bench crowd` that holds one; default: this machine's",
    )
    p.add_argument(
        "--crowd",
        default="step",
        help="step, ramp, burst, clips (recorded), demo, const:N, or a log whose crowd comes again: LOG.jsonl, or LOG.jsonl:N with N people at its fullest; default step",
    )
    p.add_argument("--budget-ms", type=float, default=33.0, metavar="MS", help="time a frame may take; default 33")
    p.add_argument("--frames", type=int, default=3000, metavar="N", help="default 3000")
    p.add_argument("--fps", type=float, default=30.0, help="frames per second that the camera gives; default 30")
    p.add_argument(
        "--policy",
        default="auto",
        help="auto, deepest-that-fits, an exit (exit_09@96), all: every rival in a table, or tune: other numbers of ours; default auto",
    )
    p.add_argument(
        "--noise",
        type=Path,
        metavar="LOG.jsonl",
        help="a log, or the --json of `bench crowd`, whose ups and downs are drawn from; default: none",
    )
    p.add_argument(
        "--front-ms",
        type=float,
        default=0.0,
        metavar="MS",
        help="what the capture side takes of the budget, a frame; default 0",
    )
    p.add_argument("--front-ms-per-face", type=float, default=0.0, metavar="MS", help="and for each face; default 0")
    p.add_argument(
        "--memory-s",
        type=float,
        default=3.0,
        metavar="S",
        help="after which an answer on screen is worth 1/e; default 3",
    )
    p.add_argument(
        "--runs-apart",
        action="store_true",
        help="further runs of a frame have a noise of their own; else its first run's",
    )
    p.add_argument("--seed", type=int, default=1, help="of the draws from the noise; default 1")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def _simulate(args: argparse.Namespace) -> int:
    from app.commands import simulate

    return simulate.simulate_crowd(
        args.profile, args.crowd, args.budget_ms, args.frames, args.fps, args.policy, args.noise,
        args.front_ms, args.front_ms_per_face, args.memory_s, args.seed, args.json, args.runs_apart,
    )  # fmt: skip


def _add_bench(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "bench",
        _bench,
        "Measure on this machine: exits against cut networks, or the scheduler under a growing crowd.",
        "bench --faces 1..16 --budget-ms 20",
    )
    p.add_argument(
        "what",
        nargs="?",
        choices=(
            "exits",
            "scheduler",
            "crowd",
            "front-end",
            "tracking",
            "estimates",
            "alignment",
            "window",
            "responsiveness",
            "detectors",
        ),
        help="exits: what stopping early saves, and its memory; scheduler: auto against each fixed exit; crowd: auto live while crowds and other programs come and go; front-end: what detection, landmarks and alignment take and find; tracking: how people keep their identity, on crowds whose truth is known; estimates: how steady what is shown of a person is; alignment: what tilt, the edge and size do; window: how long painting takes; responsiveness: by how much the window's event loop comes late while everything runs; detectors: recall, speed and the age's error behind each; default exits, or scheduler with --faces",
    )
    p.add_argument(
        "--faces",
        metavar="A..B",
        help="crowd sizes: scheduler as 1..16, which is the default; front-end as 1,4,10, default 0,1,4,10,40; responsiveness as 10, which is the default",
    )
    p.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="scheduler: the network's share of a frame's budget, default 20; front-end: as in `run`, for its limits",
    )
    p.add_argument("--rounds", type=int, default=60, help="measurements per figure; default 60")
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    p.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="front-end, tracking, responsiveness: frames per crowd; default 150, 500, 500",
    )
    p.add_argument(
        "--detector",
        default="viola-jones",
        metavar="NAME",
        help="front-end: as in `run`; detectors: several, with commas",
    )
    p.add_argument("--min-face", type=float, metavar="PIXELS", help="front-end: as in `run`")
    p.add_argument(
        "--clips", type=Path, nargs="+", default=[], metavar="FILE", help="front-end, estimates: videos to try"
    )
    p.add_argument(
        "--utkface", type=Path, metavar="DIR", help="estimates, alignment, detectors: folder of UTKFace's pictures"
    )
    p.add_argument(
        "--list",
        type=Path,
        metavar="NAMES.txt",
        help="estimates, alignment, detectors: only these pictures, a file name a line",
    )
    p.add_argument(
        "--count", type=int, default=400, metavar="N", help="estimates, alignment, detectors: pictures; default 400"
    )
    p.add_argument("--plot", type=Path, metavar="OUT.png", help="front-end: draw the times while a crowd comes in")
    p.add_argument(
        "--minutes",
        type=float,
        default=3.0,
        help="crowd: how long in all; default 3, for figures with narrow intervals 60",
    )
    p.add_argument(
        "--budgets",
        default="16,33,66,100",
        metavar="MS,MS",
        help="crowd: budgets in milliseconds; default 16,33,66,100",
    )
    p.add_argument("--log", type=Path, metavar="LATENCY.jsonl", help="crowd: write the latency log")
    p.add_argument(
        "--crowd",
        default="step,ramp,burst,clips",
        help="crowd: with commas between, each as `simulate --crowd` takes them; default step,ramp,burst,clips",
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def _bench(args: argparse.Namespace) -> int:
    what = args.what or ("scheduler" if args.faces else "exits")
    if what == "window":
        from app.commands import bench_window

        return bench_window.bench_window(args.rounds, args.json)
    if what == "detectors":
        from app.commands import bench_detectors

        return bench_detectors.bench_detectors(
            args.utkface, args.list, args.count, args.detector.split(","), args.model, args.json
        )
    if what == "responsiveness":
        from app.commands import bench_responsiveness

        return bench_responsiveness.bench_responsiveness(args.faces, args.frames or 500, args.model, args.json)
    if what == "tracking":
        from app.commands import bench_tracking

        return bench_tracking.bench_tracking(500 if args.frames is None else args.frames, args.model, args.json)
    if what == "crowd":
        from app.commands import bench_crowd

        return bench_crowd.bench_crowd(
            args.model, args.device, args.minutes, args.budgets, args.json, args.log, args.crowd
        )
    if what == "front-end":
        from app.commands import bench_front_end

        return bench_front_end.bench_front_end(
            args.faces,
            150 if args.frames is None else args.frames,
            args.model,
            args.detector,
            args.min_face,
            args.budget_ms,
            args.clips,
            args.plot,
            args.json,
        )
    if what == "estimates":
        from app.commands import bench_estimates

        return bench_estimates.bench_estimates(args.clips, args.utkface, args.list, args.count, args.model, args.json)
    if what == "alignment":
        from app.commands import bench_alignment

        return bench_alignment.bench_alignment(args.utkface, args.list, args.count, args.model, args.json)
    from app.commands import bench

    return bench.bench(
        what,
        args.faces or "1..16",
        20.0 if args.budget_ms is None else args.budget_ms,
        args.rounds,
        args.model,
        args.device,
        args.json,
    )


def _add_soak(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "soak",
        _soak,
        "Run the demo crowd at full load with faults injected: camera, pictures, network, disk; then a verdict.",
        "soak --minutes 10 --report soak.md",
    )
    p.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long; default 10")
    p.add_argument("--report", type=Path, metavar="OUT.md", help="write the verdict as a page")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write everything as JSON")


def _soak(args: argparse.Namespace) -> int:
    from app.commands import soak

    return soak.soak(args.minutes, args.report, args.json)


def _add_models(sub: argparse._SubParsersAction) -> None:
    p = _command(
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


def _add_card(sub: argparse._SubParsersAction) -> None:
    p = _command(
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


def _add_evaluate(sub: argparse._SubParsersAction) -> None:
    p = _command(
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


def _add_prepare(sub: argparse._SubParsersAction) -> None:
    p = _command(
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


def _add_train(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "train",
        _train,
        "Train an elastic network; goes on where an earlier run in the same folder stopped.",
        "train --config models/configs/mobilenet_v1_075.toml --faces cache/faces --initial mobilenet_0.75_imagenet.npz --out runs/mine",
    )
    p.add_argument("--config", type=Path, required=True, metavar="FILE", help="what to train: see models/configs/")
    p.add_argument("--faces", type=Path, required=True, metavar="DIR", help="what `prepare` wrote")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the run's folder: checkpoint, log.csv, validation.csv, events/ for `tensorboard --logdir`",
    )
    p.add_argument(
        "--initial",
        type=Path,
        metavar="WEIGHTS",
        help="what to start from: Keras weights (.npz, .h5), an earlier run's folder, or a shipped network's manifest; default: at random",
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
        "--smoke", action="store_true", help="only try a few steps, a resume and a validation; keeps nothing"
    )
    p.add_argument("--plot", type=Path, metavar="OUT.png", help="only draw the run's curves so far")


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


def _add_export(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "export",
        _export,
        "Write a trained network as ONNX with its manifest, after comparing its outputs with torch's.",
        "export --run runs/mine --faces cache/faces --out models/weights",
    )
    p.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="a training run's folder")
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


def _add_flops(sub: argparse._SubParsersAction) -> None:
    p = _command(
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


def _add_train_landmarks(sub: argparse._SubParsersAction) -> None:
    p = _command(
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
        help="the run's folder (0.2 GB per 1000 pictures); a run that was stopped goes on where it was",
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


def _add_study_elastic(sub: argparse._SubParsersAction) -> None:
    p = _command(
        sub,
        "study-elastic",
        _study_elastic,
        "Does elastic training make the last exit better? Paired training runs in four arms, and what follows.",
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
    p.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="training runs of each arm, seeds 1 to N; default 5"
    )
    p.add_argument("--epochs", type=int, metavar="N", help="default 15 for up to 6000 faces, 6 for more")
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
