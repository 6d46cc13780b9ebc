"""`bench front-end`: what the front end (detection, landmarks, alignment) takes and finds, beside scanning every frame.

All ways get the same frames in turn in one run, on one thread. The demo crowd is enlarged to 1280x720, and its truth is
known; of clips there is no truth, there each way is held against the other. Processor time is given beside the clock's, for
on a busy machine the clock also counts others' work.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from models.manifest import DEFAULT_MODEL
from scheduler.latency import quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain import Box, Frame
    from app.faces.detector import Detector
    from app.faces.front_end import FrontEnd
    from app.faces.scan import Scan

SIZE = 1280, 720
CROWDS = 0, 1, 4, 10, 40
TURN = 25  # frames, a second
START = 300  # frame of the cycle; at a constant crowd all are alike
ARRIVALS_S = 14.5  # the default crowd's first seconds: one after another, ten people come
OVERLAP = 0.4  # of a found box with a true one, intersection over union
BUDGET, AUTO, EVERY = "on a budget", "with limits", "every frame"
PLAIN_STEP = 1.15  # of the plain scan's scales; OpenCV's own default, 1.1, costs half as much again


@dataclass(frozen=True, kw_only=True)
class Search:
    """How faces are looked for; each as in `run`. The budget is for the limits, and the model for its template."""

    detector: str = "viola-jones"
    min_face: float | None = None
    budget_ms: float | None = None
    model: str = DEFAULT_MODEL

    @property
    def frame_budget_ms(self) -> float:
        """Raises UsageError."""
        from app.settings import Settings

        return Settings(budget_ms=self.budget_ms).frame_budget_ms


class EveryFrame:
    """The plain way: the whole frame, finely, in every frame. Has the seam of scan.Scanner."""

    def __init__(self, detector: Detector, min_face: float | None = None) -> None:
        self._detector, self._min_face = detector, min_face

    def __call__(
        self,
        image: NDArray[np.uint8],
        gray: NDArray[np.uint8],
        time_s: float,
        known: Mapping[int, Box],
        rolls: Mapping[int, float] | None = None,
    ) -> Scan:
        import cv2

        from app.domain import Box
        from app.faces.scan import Scan, parts

        picture = image if self._detector.in_colour else gray
        whole = parts(gray.shape, self._min_face)
        if not whole:
            return Scan([], set(known))
        scale = self._detector.scan_px / whole[0].smallest
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = self._detector(small, self._detector.scan_px)
        return Scan([Box(*(v / scale for v in b)) for b in found], set(known))


@dataclass
class Arm:
    """One way under measurement, and what came of it."""

    front_end: FrontEnd  # its clock counts the thread's processor time, where it has no time limit
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {"detect": [], "align": []})
    boxes: list[list[Box]] = field(default_factory=list)  # of faces ready for the network, per frame

    def take(self, frame: Frame) -> None:
        frame = dataclasses.replace(frame, born_s=time.monotonic())
        cpu, wall = time.thread_time(), time.perf_counter()
        prepared = self.front_end(frame)
        self.wall_ms.append((time.perf_counter() - wall) * 1e3)
        self.cpu_ms.append((time.thread_time() - cpu) * 1e3)
        for stage, taken in self.stages_ms.items():
            taken.append(prepared.stages_ms[stage])
        self.boxes.append([face.box for face in prepared.faces])


def bench_front_end(
    faces: str | None,
    frames: int,
    search: Search,
    clips: list[Path],
    plot: Path | None,
    out: Path | None,
) -> int:
    """`faces` are crowd sizes, as 1,4,10; the arrivals are left out where some are given. Raises UsageError."""
    import cv2

    crowds = _crowds(faces)
    search = dataclasses.replace(search, budget_ms=search.frame_budget_ms)
    if not 20 <= frames <= 1000:
        raise UsageError(f"--frames must be from 20 to 1000, got {frames}")
    if plot and faces is not None:
        raise UsageError("--plot draws the arrivals: leave out --faces")
    for path in (plot, out):
        if path:
            check_writable(path)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        report = _measure(crowds, frames, search, clips, arrivals=faces is None)
    finally:
        cv2.setNumThreads(threads)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if plot:
        draw(report["arrivals"], plot)
        print(f"drawn: {plot}")
    return 0


def _crowds(text: str | None) -> list[int]:
    from app.sources.demo import MAX_PEOPLE

    if text is None:
        return list(CROWDS)
    sizes = [int(size) if size.isascii() and size.isdecimal() and len(size) < 4 else -1 for size in text.split(",")]
    if not all(0 <= size <= MAX_PEOPLE for size in sizes):
        raise UsageError(f"--faces must be sizes of the demo crowd, 0 to {MAX_PEOPLE}, such as 1,4,10; got {text!r}")
    return sizes


def _measure(crowds: list[int], frames: int, search: Search, clips: list[Path], *, arrivals: bool) -> dict[str, Any]:
    from tqdm import tqdm

    from app.sources.demo import FPS, DemoCrowd

    print(
        f"{search.detector}, {SIZE[0]}x{SIZE[1]}, one thread, {frames} frames at {FPS:g} a second per crowd; "
        f"from picture to aligned faces, a second of each way in turn\n"
        f"{BUDGET}: everybody in every frame; {AUTO}: as `run` with {search.frame_budget_ms:.1f} ms a frame, "
        f"people in turn; {EVERY}: the whole frame scanned in every frame, everybody aligned"
    )
    print(f"{'':20}{'clock, ms':>23}{'processor, ms':>16}{'p95 of':>8}")
    print(
        f"{'faces':<7}{'':13}{'p50':>7}{'p95':>8}{'max':>8}{'p50':>8}{'p95':>8}{'detect':>8}{'align':>8}{'recall':>9}{'false':>7}"
    )
    rows = []
    for people in crowds:
        crowd = DemoCrowd(lambda _, n=people: n)
        ways = run(
            _arms(search), tqdm(_demo(crowd, range(START, START + frames)), total=frames, leave=False, disable=None)
        )
        truth = [_enlarged(crowd.truth(START + i)) for i in range(frames)]
        row = {name: {**times(arm), **quality(arm.boxes, truth)} for name, arm in ways.items()}
        rows.append({"faces": people, **row})
        for name, f in row.items():
            stages = "".join(f"{f[k]:>8.1f}" if name != AUTO else f"{'':8}" for k in ("detect_p95_ms", "align_p95_ms"))
            recall = f"{f['recall']:>9.1%}" if people else f"{'':9}"
            tqdm.write(
                f"{people:<7}{name:13}{f['p50_ms']:>7.1f}{f['p95_ms']:>8.1f}{f['max_ms']:>8.1f}{f['cpu_p50_ms']:>8.1f}"
                f"{f['cpu_p95_ms']:>8.1f}{stages}{recall}{f['false_per_frame']:>7.2f}"
            )
        clock, processor = (row[BUDGET][k] / row[EVERY][k] for k in ("p95_ms", "cpu_p95_ms"))
        tqdm.write(f"{'':7}{BUDGET} / {EVERY}: {clock:.2f} of its p95 by the clock, {processor:.2f} of the processor's")

    return {
        "detector": search.detector,
        "size": SIZE,
        "frames": frames,
        "budget_ms": search.frame_budget_ms,
        "rows": rows,
        "arrivals": _arrivals(_arms(search)) if arrivals else None,
        "clips": [_clip(path, _arms(search)) for path in clips],
    }


def _arrivals(arms: dict[str, Arm]) -> dict[str, Any]:
    from tqdm import tqdm

    from app.sources.demo import FPS, DemoCrowd

    crowd, count = DemoCrowd(), round(ARRIVALS_S * FPS)
    ways = run(arms, tqdm(_demo(crowd, range(count)), total=count, leave=False, disable=None))
    truth = [_enlarged(crowd.truth(i)) for i in range(count)]
    arrivals: dict[str, Any] = {"faces": [len(t) for t in truth]}
    print(f"arrivals: ten people come in one after another in {ARRIVALS_S:g} s")
    for name, arm in ways.items():
        late = [n / FPS for n in delays(arm.boxes, truth)]
        arrivals[name] = {**times(arm), **quality(arm.boxes, truth), "taken_ms": arm.cpu_ms, "delays_s": late}
        found = f"median {quantile(late, 0.5):.2f} s, longest {max(late):.2f} s" if late else "nobody"
        print(
            f"  {name:13}p95 {arrivals[name]['cpu_p95_ms']:.1f} ms, recall {arrivals[name]['recall']:.1%}; from half in view "
            f"to ready for the network: {found}, {len(late)} people"
        )
    return arrivals


def _arms(search: Search) -> dict[str, Arm]:
    """Without limits everybody is aligned in every frame, as with a fixed exit."""
    from align.geometry import Template
    from align.landmarks import LandmarkPredictor
    from app.compose import ALIGN_SHARE, SCAN_SHARE, load_manifest
    from app.faces.detectors import open_detector
    from app.faces.front_end import FrontEnd
    from app.faces.scan import Scanner
    from app.faces.tracker import Tracker
    from app.faces.viola_jones import ViolaJones
    from app.network.probe import Probe

    template = Template(load_manifest(search.model).template)
    min_face, budget_ms = search.min_face, search.frame_budget_ms
    plain = ViolaJones(PLAIN_STEP) if search.detector == "viola-jones" else open_detector(search.detector)

    def front_end(scanner: Any, align_share: float | None = None) -> Arm:
        clock = time.monotonic if align_share else time.thread_time
        return Arm(FrontEnd(scanner, LandmarkPredictor(), template, Tracker(), 256, align_share, clock))

    return {
        BUDGET: front_end(Scanner(open_detector(search.detector), min_face)),
        AUTO: front_end(
            Scanner(open_detector(search.detector), min_face, SCAN_SHARE * budget_ms, probe=Probe()),
            ALIGN_SHARE * budget_ms,
        ),
        EVERY: front_end(EveryFrame(plain, min_face)),
    }


def run(arms: dict[str, Arm], frames: Iterable[Frame]) -> dict[str, Arm]:
    """Gives every frame to every way, TURN frames at a time; who goes first alternates.

    Not frame by frame: after a search of the whole picture each frame takes longer, probably since little is left in the
    caches, and no capture process has that before it."""
    names, frames = list(arms), iter(frames)
    while turn := list(islice(frames, TURN)):
        names.reverse()
        for name in names:
            for frame in turn:
                arms[name].take(frame)
    return arms


def _demo(crowd: Any, ids: range) -> Iterator[Frame]:
    import cv2

    from app.domain import Frame
    from app.sources.demo import FPS

    for i, frame_id in enumerate(ids):
        image = cv2.resize(crowd.picture(frame_id), SIZE, interpolation=cv2.INTER_CUBIC)
        yield Frame(i, image, i / FPS, time.monotonic())


def _enlarged(truth: list[tuple[int, Box]]) -> dict[int, Box]:
    from app.domain import Box
    from app.sources.demo import WIDTH

    return {person: Box(*(v * SIZE[0] / WIDTH for v in box)) for person, box in truth}


def times(arm: Arm) -> dict[str, float]:
    """Without the first frame, which is scanned whole in any way. Stages are of the front end's own clock."""
    figures = {}
    for what, taken in (("", arm.wall_ms), ("cpu_", arm.cpu_ms), *((f"{n}_", ms) for n, ms in arm.stages_ms.items())):
        rest = taken[1:]
        figures |= {
            f"{what}p50_ms": quantile(rest, 0.5),
            f"{what}p95_ms": quantile(rest, 0.95),
            f"{what}max_ms": max(rest),
        }
    return figures


def quality(found: list[list[Box]], truth: list[dict[int, Box]]) -> dict[str, float | None]:
    """Share of the true faces that are ready for the network in their frame, and boxes a frame that are no face's."""
    faces = hits = boxes = 0
    for here, there in zip(found, truth, strict=True):
        faces, boxes = faces + len(there), boxes + len(here)
        hits += len(matched(here, there))
    return {"recall": hits / faces if faces else None, "false_per_frame": (boxes - hits) / len(found)}


def matched(found: list[Box], truth: dict[int, Box]) -> set[int]:
    """The true faces that have a box of their own."""
    left, people = list(found), set[int]()
    for person, box in truth.items():
        best = max(left, key=lambda b: overlap(b, box), default=None)
        if best and overlap(best, box) > OVERLAP:
            left.remove(best)
            people.add(person)
    return people


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a.width * a.height + b.width * b.height - shared)


def delays(found: list[list[Box]], truth: list[dict[int, Box]]) -> list[int]:
    """Frames from a person's first in view to their first ready for the network; people who are never are left out."""
    came: dict[int, int] = {}
    ready: dict[int, int] = {}
    for i, (here, there) in enumerate(zip(found, truth, strict=True)):
        for person in there:
            came.setdefault(person, i)
        for person in matched(here, there):
            ready.setdefault(person, i - came[person])
    return list(ready.values())


def _clip(path: Path, arms: dict[str, Arm]) -> dict[str, Any]:
    """Faces of either way, and the share of the plain way's that the other has in the same frame."""
    from app.sources.open import open_source

    del arms[AUTO]
    run(arms, open_source(str(path)))
    one, other = arms[BUDGET].boxes, arms[EVERY].boxes
    both = sum(len(matched(a, dict(enumerate(b)))) for a, b in zip(one, other, strict=True))
    faces = {name: sum(map(len, arm.boxes)) for name, arm in arms.items()}
    print(
        f"{path.name}: {len(one)} frames; faces ready: {faces[BUDGET]} {BUDGET}, {faces[EVERY]} by scanning {EVERY}, "
        f"{both} in both; processor p95 {times(arms[BUDGET])['cpu_p95_ms']:.1f} and {times(arms[EVERY])['cpu_p95_ms']:.1f} ms"
    )
    return {
        "name": path.name,
        "frames": len(one),
        "faces": faces,
        "both": both,
        **{n: times(a) for n, a in arms.items()},
    }


def draw(arrivals: dict[str, Any], path: Path) -> None:
    """Faces in view and milliseconds a frame, while the crowd comes in."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from app.sources.demo import FPS

    seconds = np.arange(len(arrivals["faces"])) / FPS
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(10, 5), height_ratios=(1, 2.5), layout="constrained"
    )
    top.step(seconds, arrivals["faces"], color="0.2", where="post")
    top.set_ylabel("faces in view")
    for name, colour in ((EVERY, "tab:orange"), (BUDGET, "tab:blue")):
        label = f"{name}: p95 {arrivals[name]['cpu_p95_ms']:.0f} ms, recall {arrivals[name]['recall']:.1%}"
        bottom.plot(seconds[1:], arrivals[name]["taken_ms"][1:], lw=0.7, color=colour, label=label)
    bottom.set_ylabel("detect, landmarks, align:\nprocessor time, ms a frame")
    bottom.set_xlabel("seconds")
    bottom.set_ylim(bottom=0)
    bottom.legend(loc="upper left", fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
