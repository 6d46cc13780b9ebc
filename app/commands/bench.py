"""`bench`: what a machine and its faces make of the parts, one benchmark a module of app/bench/.

A benchmark is an entry of BENCHMARKS: what it measures, the flags that it takes, and the function that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from app.command import command
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


class Flag(NamedTuple):
    """A flag, and how argparse is to read it."""

    name: str
    how: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    about: str
    flags: tuple[Flag, ...]
    measure: Callable[[argparse.Namespace], int]


def flag(name: str, **how: Any) -> Flag:
    return Flag(name, how)


def frames(default: int) -> Flag:
    return flag("--frames", type=int, default=default, metavar="N", help=f"frames per crowd; default {default}")


MODEL = flag("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
DEVICE = flag("--device", default="auto", help="auto, cpu, cuda or openvino; default auto")
JSON = flag("--json", type=Path, metavar="OUT.json", help="write the table as JSON")
CLIPS = flag("--clips", type=Path, nargs="+", default=[], metavar="FILE", help="videos to try")
DETECTION = (
    flag("--detector", default="both", metavar="NAME", help="as in `run`"),
    flag("--min-face", type=float, metavar="PIXELS", help="as in `run`"),
)
# Pictures of UTKFace: which of them, and how many.
PICTURES = (
    flag("--utkface", type=Path, metavar="DIR", help="folder of UTKFace's pictures"),
    flag("--list", type=Path, metavar="NAMES.txt", help="only these pictures, a file name a line"),
    flag("--count", type=int, default=400, metavar="N", help="pictures; default 400"),
)


def _exits(args: argparse.Namespace) -> int:
    from app.bench.exits import bench_exits

    return bench_exits(args.rounds, args.model, args.device, args.json)


def _crowd(args: argparse.Namespace) -> int:
    from app.bench.crowd import bench_crowd

    return bench_crowd(args.model, args.device, args.minutes, args.budgets, args.json, args.log, args.crowd)


def _front_end(args: argparse.Namespace) -> int:
    from app.bench.front_end import bench_front_end
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_front_end(args.faces, args.frames, settings, args.clips, args.json)


def _following(args: argparse.Namespace) -> int:
    from app.bench.following import bench_following
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_following(args.utkface, args.count, args.clips, settings, args.json)


def _recall(args: argparse.Namespace) -> int:
    from app.bench.recall import bench_recall
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_recall(args.clips, args.truth, settings, args.json)


def _tracking(args: argparse.Namespace) -> int:
    from app.bench.tracking import bench_tracking

    return bench_tracking(args.frames, args.model, args.json)


def _estimates(args: argparse.Namespace) -> int:
    from app.bench.estimates import bench_estimates

    return bench_estimates(args.clips, args.utkface, args.list, args.count, args.model, args.json)


def _alignment(args: argparse.Namespace) -> int:
    from app.bench.alignment import bench_alignment

    return bench_alignment(args.utkface, args.list, args.count, args.model, args.json)


def _responsiveness(args: argparse.Namespace) -> int:
    from app.bench.responsiveness import bench_responsiveness

    return bench_responsiveness(args.faces, args.frames, args.model, args.json)


def _idle(args: argparse.Namespace) -> int:
    from app.bench.idle import bench_idle

    return bench_idle(args.seconds, args.model, args.window, args.json)


def _engines(args: argparse.Namespace) -> int:
    from app.bench.engines import bench_engines

    return bench_engines(args.model, args.rounds, args.cpu_time, args.utkface, args.list, args.count, args.json)


BENCHMARKS = {
    "exits": Benchmark(
        about="what stopping early saves, and its memory",
        flags=(
            flag("--rounds", type=int, default=60, help="measurements per figure; default 60"),
            *(MODEL, DEVICE, JSON),
        ),
        measure=_exits,
    ),
    "crowd": Benchmark(
        about="auto live while crowds and other programs come and go",
        flags=(
            flag(
                "--minutes",
                type=float,
                default=3.0,
                help="how long in all; default 3, for figures with narrow intervals 60",
            ),
            flag(
                "--budgets",
                default="16,33,66,100",
                metavar="MS,MS",
                help="budgets in milliseconds; default 16,33,66,100",
            ),
            flag("--log", type=Path, metavar="LATENCY.jsonl", help="write the latency log"),
            flag(
                "--crowd",
                default="step,ramp,burst,clips",
                help="with commas between, each as `simulate --crowd` takes them; default step,ramp,burst,clips",
            ),
            *(MODEL, DEVICE, JSON),
        ),
        measure=_crowd,
    ),
    "engines": Benchmark(
        about="time and error of every operating point by every engine of this machine",
        flags=(
            flag("--rounds", type=int, default=15, help="measurements per figure; default 15"),
            flag(
                "--cpu-time",
                action="store_true",
                help="one thread, and the processor's time instead of the clock's: for a busy machine",
            ),
            *(*PICTURES, MODEL, JSON),
        ),
        measure=_engines,
    ),
    "front-end": Benchmark(
        about="what finding, following and aligning faces takes, and whom it finds",
        flags=(
            flag("--faces", metavar="N,N", help="crowd sizes, as 1,4,10; default 0,1,4,10,40"),
            frames(150),
            *DETECTION,
            CLIPS,
            *(MODEL, JSON),
        ),
        measure=_front_end,
    ),
    "following": Benchmark(
        about="how near the follower is to its teacher, how long it holds a face, how still it keeps, and what it takes",
        flags=(*PICTURES[:1], *PICTURES[2:], *DETECTION, CLIPS, *(MODEL, JSON)),
        measure=_following,
    ),
    "recall": Benchmark(
        about="who is found and read on real clips, how soon, and what is taken for a face",
        flags=(
            flag("--clips", type=Path, nargs="+", default=[], metavar="DIR", help="a folder of videos, or videos"),
            flag("--truth", type=Path, metavar="FACES.json", help="boxes of the faces in some frames of each video"),
            *DETECTION,
            *(MODEL, JSON),
        ),
        measure=_recall,
    ),
    "tracking": Benchmark(
        about="how people keep their identity, on crowds whose truth is known",
        flags=(frames(500), MODEL, JSON),
        measure=_tracking,
    ),
    "estimates": Benchmark(
        about="how steady what is shown of a person is",
        flags=(CLIPS, *PICTURES, MODEL, JSON),
        measure=_estimates,
    ),
    "alignment": Benchmark(
        about="what tilt, turn, the edge and size do",
        flags=(*PICTURES, MODEL, JSON),
        measure=_alignment,
    ),
    "idle": Benchmark(
        about="processor time while nobody is in view, and while one visitor stays",
        flags=(
            flag("--seconds", type=float, default=20.0, metavar="S", help="how long each is measured; default 20"),
            flag("--no-window", dest="window", action="store_false", help="without the window"),
            *(MODEL, JSON),
        ),
        measure=_idle,
    ),
    "responsiveness": Benchmark(
        about="by how much the window's event loop comes late while everything runs",
        flags=(flag("--faces", metavar="N", help="crowd size; default 10"), frames(500), MODEL, JSON),
        measure=_responsiveness,
    ),
}


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "bench",
        run,
        "Measure this machine: early exits, crowds, front end, more.",
        "bench crowd --minutes 3",
    )
    p.otherwise = "exits"
    which = p.add_subparsers(
        title="benchmarks",
        required=True,
        metavar="WHAT",
        help="default exits; `main.py bench WHAT --help` has its flags",
    )
    for name, benchmark in BENCHMARKS.items():
        one = which.add_parser(name, help=benchmark.about, description=f"Measures {benchmark.about}.")
        one.set_defaults(measure=benchmark.measure)
        for each in benchmark.flags:
            one.add_argument(each.name, **each.how)


def run(args: argparse.Namespace) -> int:
    return args.measure(args)
