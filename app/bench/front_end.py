"""`bench front-end`: what finding, following and aligning faces takes, and whom it finds, at 1280x720 and 25 frames a second.

Our way runs as live: the search in the path, the second look on its thread, frames at their own pace. Beside it, in the same
run and on the same frames, the plain way: Viola-Jones over the whole of every frame, then landmarks by regression trees for
every face. The demo crowd's truth is known. Processor time of the frame's path is given beside the clock's, for on a busy
machine the clock also counts others' work; `core` is what path and second look take together, as a share of one core.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import UsageError
from app.files import check_writable
from scheduler.profile import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from app.domain import Box, Frame
    from app.faces.front_end import FrontEnd
    from app.settings import Settings

SIZE = 1280, 720
CROWDS = 0, 1, 4, 10, 40
TURN = 25  # frames, a second
START = 300  # frame of the cycle; at a constant crowd all are alike
ARRIVALS_S = 14.5  # the default crowd's first seconds: one after another, ten people come
OVERLAP = 0.4  # of a found box with a true one, intersection over union
FOLLOWED, PLAIN = "followed", "plain"
PLAIN_STEP, PLAIN_NEIGHBOURS = 1.15, 3  # OpenCV's own default step, 1.1, costs half as much again


class Way(Protocol):
    def __call__(self, frame: Frame) -> list[Box]:
        """Boxes of the faces that are ready for the network."""
        ...


class Followed:
    """As `run` does it, at the pace of the frames."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        self.stages_ms: dict[str, list[float]] = {}

    def __call__(self, frame: Frame) -> list[Box]:
        found = self._front_end(frame)
        for stage, taken in found.stages_ms.items():
            self.stages_ms.setdefault(stage, []).append(taken)
        return [face.box for face in found.faces]


class Plain:
    """The whole frame by Viola-Jones, and the predictor's landmarks for every face."""

    def __init__(self, template: Sequence[tuple[float, float]], min_face: float | None) -> None:
        from align.geometry import Template
        from align.landmarks import LandmarkPredictor
        from app.faces.search import Search
        from app.faces.viola_jones import ViolaJones

        self._template, self._predict = Template(tuple(template)), LandmarkPredictor()
        self._search = Search(ViolaJones(PLAIN_STEP, PLAIN_NEIGHBOURS), min_face, every_frame=True)

    def __call__(self, frame: Frame) -> list[Box]:
        import cv2

        gray = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        found = self._search(frame.image, gray, frame.time_s, [])
        for sighting in found:
            self._template.fit(self._predict(gray, sighting.box))
        return [s.box for s in found]


@dataclass
class Arm:
    """One way under measurement, and what came of it."""

    way: Way
    paced: bool  # as a camera gives its frames
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    core: list[float] = field(default_factory=list)  # share of one core, all threads of this process, per second
    boxes: list[list[Box]] = field(default_factory=list)

    def take(self, frames: Sequence[Frame], pause: Any = time.sleep) -> None:
        began, worked = time.monotonic(), time.process_time()
        for frame in frames:
            if self.paced:
                pause(max(0.0, began + frame.time_s - frames[0].time_s - time.monotonic()))
            cpu, wall = time.thread_time(), time.perf_counter()
            self.boxes.append(self.way(dataclasses.replace(frame, born_s=time.monotonic())))
            self.wall_ms.append((time.perf_counter() - wall) * 1e3)
            self.cpu_ms.append((time.thread_time() - cpu) * 1e3)
        self.core.append((time.process_time() - worked) / max(time.monotonic() - began, 1e-6))


def bench_front_end(faces: str | None, frames: int, settings: Settings, clips: Sequence[Path], out: Path | None) -> int:
    """`faces` are crowd sizes, as 1,4,10; the arrivals are left out where some are given. Raises UsageError."""
    import cv2

    crowds = _crowds(faces)
    if not 20 <= frames <= 1000:
        raise UsageError(f"--frames must be from 20 to 1000, got {frames}")
    if out:
        check_writable(out)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        report = _measure(crowds, frames, settings, clips, arrivals=faces is None)
    finally:
        cv2.setNumThreads(threads)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _crowds(text: str | None) -> list[int]:
    from app.sources.demo import MAX_PEOPLE

    if text is None:
        return list(CROWDS)
    sizes = [int(size) if size.isascii() and size.isdecimal() and len(size) < 4 else -1 for size in text.split(",")]
    if not all(0 <= size <= MAX_PEOPLE for size in sizes):
        raise UsageError(f"--faces must be sizes of the demo crowd, 0 to {MAX_PEOPLE}, such as 1,4,10; got {text!r}")
    return sizes


MOST_FACES = 256


def _arms(settings: Settings, live: bool = True) -> dict[str, Arm]:
    from app.compose import load_manifest, make_front_end

    template = load_manifest(settings.model).template
    # Everybody is to be aligned, however many there are.
    ours = make_front_end(dataclasses.replace(settings, max_faces=MOST_FACES), template, live)
    return {FOLLOWED: Arm(Followed(ours), live), PLAIN: Arm(Plain(template, settings.min_face), False)}


def _measure(
    crowds: list[int], frames: int, settings: Settings, clips: Sequence[Path], *, arrivals: bool
) -> dict[str, Any]:
    from app.sources.demo import FPS, DemoCrowd

    print(
        f"--detector {settings.detector}, {SIZE[0]}x{SIZE[1]}, {frames} frames at {FPS:g} a second per crowd, from picture to "
        f"aligned faces\n{'':16}{'clock, ms':>21}{'processor, ms':>16}\n"
        f"{'faces':<7}{'':9}{'p50':>5}{'p95':>8}{'max':>8}{'p50':>8}{'p95':>8}{'core':>7}{'recall':>9}{'false':>7}"
    )
    rows = []
    for people in crowds:
        crowd = DemoCrowd(lambda _, n=people: n)
        ways = run(_arms(settings), _demo(crowd, range(START, START + frames)))
        truth = [_enlarged(crowd.truth(START + i)) for i in range(frames)]
        row = {name: {**times(arm), **quality(arm.boxes, truth)} for name, arm in ways.items()}
        rows.append({"faces": people, **row})
        for name, f in row.items():
            recall = f"{f['recall']:>9.1%}" if people else f"{'':9}"
            print(
                f"{people:<7}{name:<9}{f['p50_ms']:>5.1f}{f['p95_ms']:>8.1f}{f['max_ms']:>8.1f}{f['cpu_p50_ms']:>8.1f}"
                f"{f['cpu_p95_ms']:>8.1f}{f['core']:>7.0%}{recall}{f['false_per_frame']:>7.2f}"
            )
    return {
        "detector": settings.detector,
        "size": SIZE,
        "frames": frames,
        "rows": rows,
        "arrivals": _arrivals(settings) if arrivals else None,
        "clips": [_clip(path, settings) for path in clips],
    }


def _arrivals(settings: Settings) -> dict[str, Any]:
    from app.sources.demo import FPS, DemoCrowd

    crowd, count = DemoCrowd(), round(ARRIVALS_S * FPS)
    ways = run(_arms(settings), _demo(crowd, range(count)))
    truth = [_enlarged(crowd.truth(i)) for i in range(count)]
    out: dict[str, Any] = {}
    print(f"arrivals: ten people come in one after another in {ARRIVALS_S:g} s")
    for name, arm in ways.items():
        late = [n / FPS for n in delays(arm.boxes, truth)]
        out[name] = {**times(arm), **quality(arm.boxes, truth), "delays_s": late}
        found = f"median {quantile(late, 0.5):.2f} s, longest {max(late):.2f} s" if late else "nobody"
        print(
            f"  {name:<9}p95 {out[name]['cpu_p95_ms']:.1f} ms, recall {out[name]['recall']:.1%}; from half in view to ready "
            f"for the network: {found}, {len(late)} people"
        )
    return out


def run(arms: dict[str, Arm], frames: Iterable[Frame]) -> dict[str, Arm]:
    """Gives every frame to every way, TURN frames at a time; who goes first alternates.

    Not frame by frame: after a search of the whole picture each frame takes longer, probably since little is left in the
    caches, and no front end has that before it."""
    names, frames = list(arms), iter(frames)
    while turn := list(islice(frames, TURN)):
        names.reverse()
        for name in names:
            arms[name].take(turn)
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
    """Without the first frame, which is searched whole in any way."""
    figures = {"core": sum(arm.core) / max(len(arm.core), 1)}
    for what, taken in (("", arm.wall_ms), ("cpu_", arm.cpu_ms)):
        rest = taken[1:]
        figures |= {
            f"{what}p50_ms": quantile(rest, 0.5),
            f"{what}p95_ms": quantile(rest, 0.95),
            f"{what}max_ms": max(rest),
        }
    for stage, taken in getattr(arm.way, "stages_ms", {}).items():
        figures[f"{stage}_p95_ms"] = quantile(taken[1:], 0.95)
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


def _clip(path: Path, settings: Settings) -> dict[str, Any]:
    """Faces of either way, and how many both have in the same frame. Of a clip there is no truth here: see `bench recall`."""
    from app.sources.open import open_source

    arms = run(_arms(settings, live=False), open_source(str(path)))
    ours, plain = arms[FOLLOWED], arms[PLAIN]
    both = sum(len(matched(a, dict(enumerate(b)))) for a, b in zip(ours.boxes, plain.boxes, strict=True))
    faces = {name: sum(map(len, arm.boxes)) for name, arm in arms.items()}
    print(
        f"{path.name}: {len(ours.boxes)} frames; faces ready: {faces[FOLLOWED]} {FOLLOWED}, {faces[PLAIN]} {PLAIN}, "
        f"{both} in both"
    )
    return {"name": path.name, "frames": len(ours.boxes), "faces": faces, "both": both}
