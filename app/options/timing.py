"""What a machine can do: profiles, replay, simulation and benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.command import command
from app.errors import UsageError
from models.manifest import DEFAULT_MODEL


def add_calibrate(sub: argparse._SubParsersAction) -> None:
    p = command(
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


def add_replay(sub: argparse._SubParsersAction) -> None:
    p = command(
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


def add_simulate(sub: argparse._SubParsersAction) -> None:
    p = command(
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
        help="auto, deepest-that-fits, an exit (exit_09@96), or all: every rival in a table; default auto",
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
        help="what the front end takes of the budget, a frame; default 0",
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
        help="further batches of a frame have a noise of their own; else its first batch's",
    )
    p.add_argument("--seed", type=int, default=1, help="of the draws from the noise; default 1")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def _simulate(args: argparse.Namespace) -> int:
    from app.commands import simulate

    return simulate.simulate_crowd(
        args.profile, args.crowd, args.budget_ms, args.frames, args.fps, args.policy, args.noise,
        args.front_ms, args.front_ms_per_face, args.memory_s, args.seed, args.json, args.runs_apart,
    )  # fmt: skip


def add_bench(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "bench",
        _bench,
        "Measure on this machine: what stopping early saves, the scheduler under crowds, the front end, and more.",
        "bench crowd --minutes 3",
    )
    p.add_argument(
        "what",
        nargs="?",
        default="exits",
        choices=(
            "exits",
            "crowd",
            "front-end",
            "tracking",
            "estimates",
            "alignment",
            "responsiveness",
        ),
        help="exits: what stopping early saves, and its memory; crowd: auto live while crowds and other programs come and go; front-end: what detection, landmarks and alignment take and find; tracking: how people keep their identity, on crowds whose truth is known; estimates: how steady what is shown of a person is; alignment: what tilt, turn, the edge and size do; responsiveness: by how much the window's event loop comes late while everything runs; default exits",
    )
    p.add_argument(
        "--faces",
        metavar="N,N",
        help="crowd sizes: front-end as 1,4,10, default 0,1,4,10,40; responsiveness as 10, which is the default",
    )
    p.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="front-end: as in `run`, for its limits",
    )
    p.add_argument("--rounds", type=int, default=60, help="measurements per figure; default 60")
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    p.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="front-end, tracking, responsiveness: frames per crowd, default 150, 500, 500",
    )
    p.add_argument(
        "--detector",
        default="viola-jones",
        metavar="NAME",
        help="front-end: as in `run`",
    )
    p.add_argument("--min-face", type=float, metavar="PIXELS", help="front-end: as in `run`")
    p.add_argument(
        "--clips", type=Path, nargs="+", default=[], metavar="FILE", help="front-end, estimates: videos to try"
    )
    p.add_argument("--utkface", type=Path, metavar="DIR", help="estimates, alignment: folder of UTKFace's pictures")
    p.add_argument(
        "--list",
        type=Path,
        metavar="NAMES.txt",
        help="estimates, alignment: only these pictures, a file name a line",
    )
    p.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="estimates, alignment: pictures, default 400",
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
    what = args.what
    count = 400 if args.count is None else args.count
    if what == "responsiveness":
        from app.bench import responsiveness as bench_responsiveness

        return bench_responsiveness.bench_responsiveness(args.faces, args.frames or 500, args.model, args.json)
    if what == "tracking":
        from app.bench import tracking as bench_tracking

        return bench_tracking.bench_tracking(500 if args.frames is None else args.frames, args.model, args.json)
    if what == "crowd":
        from app.bench import crowd as bench_crowd

        return bench_crowd.bench_crowd(
            args.model, args.device, args.minutes, args.budgets, args.json, args.log, args.crowd
        )
    if what == "front-end":
        from app.bench import front_end as bench_front_end

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
        from app.bench import estimates as bench_estimates

        return bench_estimates.bench_estimates(args.clips, args.utkface, args.list, count, args.model, args.json)
    if what == "alignment":
        from app.bench import alignment as bench_alignment

        return bench_alignment.bench_alignment(args.utkface, args.list, count, args.model, args.json)
    from app.bench import exits

    return exits.bench_exits(args.rounds, args.model, args.device, args.json)
