"""`bench recall`: who of those in front of the camera is found and read, on real clips with reference boxes.

A clip is run as `run` runs it. In each frame that has reference boxes, a person is taken for a reference face where their
centres lie within half of the larger side of the reference box, the nearest first and each once. Reference faces of
successive frames are one head where they are that near too; only heads that have been in view for IN_VIEW_S count, so that
nobody is missed who has just come. References are not complete (small and hidden faces may be missing), so "false" is an
upper bound.
"""

from __future__ import annotations

import itertools
import json
import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from app.domain import Box
from app.errors import ModelError, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from app.domain import Result
    from app.settings import Settings

IN_VIEW_S = 0.5


class Shown(NamedTuple):
    """A person in a result."""

    box: Box
    aged: bool
    person: int = 0


@dataclass
class Head:
    """A reference face over time: its box in each of its reference frames."""

    boxes: dict[int, Box] = field(default_factory=dict)

    def at(self, frame: int) -> Box | None:
        """Between two reference frames in proportion; None before the first and after the last."""
        frames = list(self.boxes)
        i = bisect_right(frames, frame)
        if not i or (i == len(frames) and frame != frames[-1]):
            return None
        if frame == frames[i - 1]:
            return self.boxes[frame]
        a, b = frames[i - 1], frames[i]
        share = (frame - a) / (b - a)
        return Box(*(p + share * (q - p) for p, q in zip(self.boxes[a], self.boxes[b], strict=True)))


def bench_recall(clips: Sequence[Path], truth: Path | None, settings: Settings, out: Path | None) -> int:
    """`clips`: a folder, or files; those that the reference names are run. Raises UsageError and ModelError."""
    if not truth or not clips:
        raise UsageError("give --clips DIR and --truth faces.json, the reference boxes of its clips")
    if out:
        check_writable(out)
    reference = read_reference(truth)
    paths = [path for one in clips for path in (sorted(one.iterdir()) if one.is_dir() else [one])]
    paths = [path for path in paths if path.name in reference]
    if not paths:
        raise UsageError(f"{truth} names no clip of {', '.join(map(str, clips))}")
    print(f"--detector {settings.detector}; faces that have been in view for {IN_VIEW_S:g} s")
    print(
        f"{'clip':<36}{'faces':>6}{'person':>9}{'age':>8}{'false a frame':>15}{'strangers':>11}{'id switches':>13}"
        f"{'s to box, age (median)':>24}"
    )
    rows = []
    for path in paths:
        times, shown = watch(path, settings)
        rows.append({"clip": path.name, **judge(reference[path.name], times, shown)})
        print(line(rows[-1]))
    rows.append({"clip": "all", **total(rows)})
    print(line(rows[-1]))
    costs = cost_ms(paths[0], settings)
    spent = ", ".join(f"{name} {ms:.0f} ms" for name, ms in costs.items())
    print(f"processor time of a look at the whole of {paths[0].name}'s first picture: {spent}")
    if out:
        report = {"detector": settings.detector, "rows": rows, "cost_ms": costs}
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def read_reference(path: Path) -> dict[str, dict[int, list[Box]]]:
    """The boxes of each reference frame, by clip. Raises ModelError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(clip): {int(i): [Box(*map(float, box)) for box in boxes] for i, boxes in about["faces"].items()}
            for clip, about in data.items()
        }
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f'{path} holds no reference boxes, {{"CLIP": {{"faces": {{"FRAME": [[x, y, w, h]]}}}}}}: {error!r}'
        ) from error


def watch(path: Path, settings: Settings) -> tuple[list[float], list[list[Shown]]]:
    """Each frame's time, and who is shown."""
    from dataclasses import replace

    from app.compose import build

    kept = _Kept()
    app = build(replace(settings, source=str(path), show=False), watch=[kept])
    app.pipeline.start()
    try:
        app.pipeline.wait()
    finally:
        app.pipeline.close()
    if app.pipeline.failure:
        raise app.pipeline.failure
    return kept.times, kept.shown


def cost_ms(path: Path, settings: Settings, rounds: int = 8) -> dict[str, float]:
    """Milliseconds of the search in the path, all of its parts, and of a fine second look; the best of some rounds."""
    import time

    import cv2

    from app.faces.detectors import open_detectors
    from app.faces.search import ALONE_SHARE, BESIDE_SHARE, Search
    from app.faces.second_look import TimedLook
    from app.sources.open import open_source

    first, second = open_detectors(settings.detector)
    image = next(iter(open_source(str(path)))).image
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    search = (
        Search(first, settings.min_face, BESIDE_SHARE if second else ALONE_SHARE, every_frame=True) if first else None
    )
    out: dict[str, float] = {}
    for _ in range(rounds):
        ways = {"search": (lambda: search(image, gray, 0.0, [])) if search else None}
        ways["second look"] = (lambda: TimedLook(second, settings.min_face)(image, 0.0)) if second else None
        for name, way in ways.items():
            if way:
                began = time.thread_time()
                way()
                out[name] = min(out.get(name, math.inf), (time.thread_time() - began) * 1e3)
    return out


class _Kept:
    """A sink that keeps what a judgement needs."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.shown: list[list[Shown]] = []

    def deliver(self, result: Result) -> None:
        self.times.append(result.frame.time_s)
        self.shown.append([Shown(p.box, p.estimate is not None, p.id) for p in result.people])

    def close(self) -> None:
        pass


def judge(
    reference: Mapping[int, Sequence[Box]], times: Sequence[float], shown: Sequence[Sequence[Shown]]
) -> dict[str, Any]:
    heads = heads_of(reference)
    faces = person = aged = false = strangers = 0
    known = _ever_known(heads, shown)
    for frame, boxes in reference.items():
        if frame >= len(times):
            continue
        matches = matched(boxes, shown[frame])
        false += len(shown[frame]) - len(matches)
        strangers += sum(one.person not in known for one in shown[frame])
        for k, box in enumerate(boxes):
            head = next(h for h in heads if h.boxes.get(frame) is box)
            if times[frame] - times[min(head.boxes)] < IN_VIEW_S - 1e-6:
                continue
            faces += 1
            person += k in matches
            aged += k in matches and matches[k].aged
    delays: dict[str, list[float]] = {"box": [], "age": []}
    switches = 0
    for head in heads:
        people = [m[0].person for i, box in head.boxes.items() if i < len(times) and (m := matched([box], shown[i]))]
        switches += sum(a != b for a, b in itertools.pairwise(people))
        first = min(head.boxes)
        for what, ages in (("box", False), ("age", True)):
            for frame in range(first, len(times)):
                box = head.at(frame)
                if box is None:
                    break
                near = matched([box], shown[frame])
                if near and (near[0].aged or not ages):
                    delays[what].append(times[frame] - times[first])
                    break
    return {
        "faces": faces,
        "person": person,
        "aged": aged,
        "false": false,
        "strangers": strangers,
        "frames": sum(frame < len(times) for frame in reference),
        "heads": len(heads),
        "switches": switches,
        "delays_s": delays,
    }


def _ever_known(heads: Sequence[Head], shown: Sequence[Sequence[Shown]]) -> set[int]:
    """People who are on a reference face in some frame, between reference frames too."""
    known = set[int]()
    for frame, people in enumerate(shown):
        boxes = [box for head in heads if (box := head.at(frame))]
        known |= {one.person for one in matched(boxes, people).values()}
    return known


def heads_of(reference: Mapping[int, Sequence[Box]]) -> list[Head]:
    """Reference faces linked over successive reference frames."""
    heads: list[Head] = []
    last: list[Head] = []
    for frame in sorted(reference):
        boxes = reference[frame]
        before = [Shown(head.boxes[max(head.boxes)], False) for head in last]
        links = matched(boxes, before)
        now = []
        for k, box in enumerate(boxes):
            head = last[next(i for i, s in enumerate(before) if s is links[k])] if k in links else Head()
            if k not in links:
                heads.append(head)
            head.boxes[frame] = box
            now.append(head)
        last = now
    return heads


def matched(boxes: Sequence[Box], shown: Sequence[Shown]) -> dict[int, Shown]:
    """Number of a reference box to the person who is there."""
    pairs = sorted(
        (math.dist(box.centre, one.box.centre), k, i)
        for k, box in enumerate(boxes)
        for i, one in enumerate(shown)
        if math.dist(box.centre, one.box.centre) <= 0.5 * max(box.width, box.height)
    )
    out: dict[int, Shown] = {}
    taken: set[int] = set()
    for _, k, i in pairs:
        if k not in out and i not in taken:
            out[k] = shown[i]
            taken.add(i)
    return out


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = ("faces", "person", "aged", "false", "strangers", "frames", "heads", "switches")
    sums: dict[str, Any] = {k: sum(r[k] for r in rows) for k in keys}
    sums["delays_s"] = {k: [d for r in rows for d in r["delays_s"][k]] for k in ("box", "age")}
    return sums


def line(row: Mapping[str, Any]) -> str:
    """One row for people."""

    def share(count: int) -> str:
        return f"{count / row['faces']:.1%}" if row["faces"] else "-"

    def median(values: Sequence[float]) -> str:
        return f"{sorted(values)[len(values) // 2]:.2f}" if values else "-"

    delays = f"{median(row['delays_s']['box'])}, {median(row['delays_s']['age'])}"
    false, strangers = (row[key] / max(row["frames"], 1) for key in ("false", "strangers"))
    return (
        f"{row['clip']:<36}{row['faces']:>6}{share(row['person']):>9}{share(row['aged']):>8}{false:>15.2f}{strangers:>11.2f}"
        f"{row['switches']:>13}{delays:>24}"
    )
