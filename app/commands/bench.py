"""`bench`: measures the parts on this machine, one benchmark a module of app/bench/.

A benchmark is an entry of BENCHMARKS: what it measures, the flags that it takes, and the function that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from app.bench import calls
from app.command import command
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


class Flag(NamedTuple):
    """A flag and its arguments to argparse."""

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
    return flag(
        "--frames", type=int, default=default, metavar="N", help=f"frames of each crowd or clip; default {default}"
    )


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


BENCHMARKS = {
    "exits": Benchmark(
        about="what stopping early saves in time, and costs in memory",
        flags=(
            flag("--rounds", type=int, default=60, help="measurements per figure; default 60"),
            *(MODEL, DEVICE, JSON),
        ),
        measure=calls.exits,
    ),
    "crowd": Benchmark(
        about="the scheduler live, while crowds and other programs come and go",
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
                help="separated by commas, each as in `simulate --crowd`; default step,ramp,burst,clips",
            ),
            *(MODEL, DEVICE, JSON),
        ),
        measure=calls.crowd,
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
        measure=calls.engines,
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
        measure=calls.front_end,
    ),
    "footage": Benchmark(
        about="how fast a file is read at 480x270, 1280x720 and 3840x2160, and whether memory stays flat",
        flags=(
            flag("clip", type=Path, metavar="CLIP", help="a video with faces; it is fitted into each size"),
            frames(90),
            flag("--rounds", type=int, default=3, help="how often each size is read, in turn; default 3"),
            flag(
                "--beside", type=Path, metavar="DIR", help="another checkout of this program, run in turn with this one"
            ),
            flag("--beside-exit", default="", metavar="NAME", help="the exit that the other checkout uses"),
            flag(
                "--looped",
                type=int,
                default=0,
                metavar="N",
                help="also watch memory over N frames of the clip, looped; an hour at 30 a second is 108000",
            ),
            JSON,
        ),
        measure=calls.footage,
    ),
    "following": Benchmark(
        about="the network that follows faces: error, drift, steadiness, time",
        flags=(*PICTURES[:1], *PICTURES[2:], *DETECTION, CLIPS, *(MODEL, JSON)),
        measure=calls.following,
    ),
    "recall": Benchmark(
        about="who is found and read on real clips, how soon, and what is taken for a face",
        flags=(
            flag("--clips", type=Path, nargs="+", default=[], metavar="DIR", help="a folder of videos, or videos"),
            flag(
                "--truth",
                type=Path,
                metavar="FACES.json",
                help='boxes of the faces in some frames: {"CLIP": {"faces": {"FRAME": [[x, y, w, h], ...]}}}',
            ),
            *DETECTION,
            *(MODEL, JSON),
        ),
        measure=calls.recall,
    ),
    "truth": Benchmark(
        about="every scheduling rule before people whose age, gender and expression are known, by what the screen shows",
        flags=(
            flag("--utkface", type=Path, metavar="DIR", help="folder of UTKFace's pictures; held-out ones are taken"),
            flag("--fer2013", type=Path, metavar="DIR", help="FER2013's folder, with train/ and validation/"),
            flag("--list", type=Path, metavar="NAMES.txt", help="UTKFace: the held-out pictures; default: worked out"),
            flag("--votes", type=Path, metavar="CSV", help="FER+'s table: its majority is the true expression"),
            flag("--without", type=Path, metavar="NAMES.txt", help="FER2013: leave these pictures out"),
            flag("--count", type=int, default=160, metavar="N", help="pictures of each; default 160"),
            flag(
                "--live",
                action="store_true",
                help="run the application itself, in real time, before pictures of the faces",
            ),
            flag("--rules", choices=("all", "parts"), default="all", help="all rules, or ours with parts left out"),
            flag(
                "--readings",
                type=Path,
                metavar="FILE.npz",
                help="remember the network's readings in this file, and use them again",
            ),
            flag(
                "--profile",
                type=Path,
                metavar="FILE",
                help="a latency profile, as in `simulate`; default: this machine's",
            ),
            flag(
                "--noise",
                type=Path,
                nargs="+",
                default=[],
                metavar="FILE",
                help="logs with a machine's ups and downs, as in `simulate`",
            ),
            flag("--people", default="3,12", metavar="N,N", help="how many are in view; default 3,12"),
            flag("--budgets", default="33,66.7,100", metavar="MS,MS", help="milliseconds; default 33,66.7,100"),
            flag("--seeds", type=int, default=5, metavar="N", help="crowds in each world; default 5"),
            flag("--seconds", type=float, default=40.0, metavar="S", help="length of each crowd; default 40"),
            JSON,
        ),
        measure=calls.truth,
    ),
    "server": Benchmark(
        about="deadlines kept by many clients of one server: ours, a fixed exit, and the server's timeout alone",
        flags=(
            flag("--clients", default="1,4,16", metavar="N,N", help="kiosks at once; default 1,4,16"),
            flag("--faces", default="1,8", metavar="N,N", help="faces in each frame; default 1,8"),
            flag("--seconds", type=float, default=3.0, metavar="S", help="seconds for each row; default 3"),
            flag(
                "--slower",
                type=float,
                default=4.0,
                metavar="N",
                help="a kiosk's own processor is N times as slow as this machine's; default 4",
            ),
            flag("--server", metavar="URL", help="default: a Triton on loopback (`make triton`)"),
            *(MODEL, JSON),
        ),
        measure=calls.server,
    ),
    "tracking": Benchmark(
        about="how people keep their identity, on crowds whose truth is known",
        flags=(frames(500), MODEL, JSON),
        measure=calls.tracking,
    ),
    "estimates": Benchmark(
        about="how steady the age, gender and expression shown of a person are",
        flags=(CLIPS, *PICTURES, MODEL, JSON),
        measure=calls.estimates,
    ),
    "alignment": Benchmark(
        about="what tilt, turn, size and the picture's edge do to a reading",
        flags=(*PICTURES, MODEL, JSON),
        measure=calls.alignment,
    ),
    "idle": Benchmark(
        about="processor time while nobody is in view, and while one visitor stays",
        flags=(
            flag("--seconds", type=float, default=20.0, metavar="S", help="how long each is measured; default 20"),
            flag("--no-window", dest="window", action="store_false", help="without the window"),
            *(MODEL, JSON),
        ),
        measure=calls.idle,
    ),
    "cameras": Benchmark(
        about="several cameras in one run: how many of their frames are in time",
        flags=(
            flag("--count", type=int, default=4, metavar="N", help="cameras with one face each; default 4"),
            flag("--fps", type=float, default=12.0, help="pictures a second of each; default 12"),
            flag("--seconds", type=float, default=60.0, metavar="S", help="how long is measured; default 60"),
            flag("--dead", type=int, default=0, metavar="N", help="further cameras that soon hang; default 0"),
            flag("--budget-ms", type=float, default=1000 / 15, metavar="MS", help="budget of a frame; default 66.7"),
            MODEL,
            JSON,
        ),
        measure=calls.cameras,
    ),
    "responsiveness": Benchmark(
        about="how late the window's event loop comes while everything runs",
        flags=(flag("--faces", metavar="N", help="crowd size; default 10"), frames(500), MODEL, JSON),
        measure=calls.responsiveness,
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
        help="default exits; `main.py bench WHAT --help` lists its options",
    )
    for name, benchmark in BENCHMARKS.items():
        one = which.add_parser(name, help=benchmark.about, description=f"Measures {benchmark.about}.")
        one.set_defaults(measure=benchmark.measure)
        for each in benchmark.flags:
            one.add_argument(each.name, **each.how)


def run(args: argparse.Namespace) -> int:
    return args.measure(args)
