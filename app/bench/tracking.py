"""`bench tracking`: how well people keep their identity, on crowds whose truth is known, by the field's metrics.

The real front end runs over the demo crowd and over a crowd whose people walk past and hide each other; what it would
show is compared with the truth by py-motmetrics, for the application's tracker and for a plain one as a reference.
"""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.domain import Box
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.domain import Frame
    from app.sources.demo import DemoCrowd

Places = list[tuple[int, Box]]  # of one frame: who is where
MATCH = 0.5  # intersection over union from which a shown box is that person, as MOT Challenge has it
METRICS = ("mota", "idf1", "num_switches", "num_fragmentations", "num_false_positives", "recall", "mostly_tracked")


def bench_tracking(frames: int, model: str, json_path: Path | None) -> int:
    """Raises UsageError for a count that makes no sense or where py-motmetrics is missing."""
    if not 50 <= frames <= 1000:
        raise UsageError(f"--frames must be from 50 to 1000 (a cycle of the crowd), got {frames}")
    if not find_spec("motmetrics"):
        raise UsageError("this benchmark needs py-motmetrics: run `pip install -r requirements-dev.txt`")
    if json_path:
        check_writable(json_path)
    from app.bench.crossing import CrossingCrowd
    from app.faces.tracker import Tracker
    from app.sources.demo import CYCLE_FRAMES, DemoCrowd

    rows = []
    print(f"{frames} frames at 25 a second; a box counts where it overlaps the truth by {MATCH:g} (IoU)")
    print(
        f"{'crowd':<10}{'tracker':<11}{'MOTA':>7}{'IDF1':>7}{'switches':>10}{'fragments':>11}{'false':>7}"
        f"{'recall':>8}{'shown after, s (p50, p95)':>27}"
    )
    for name, crowd, first in (
        ("seated", DemoCrowd(), (CYCLE_FRAMES - frames) // 2),
        ("crossing", CrossingCrowd(), 0),
    ):
        for kind, tracker in (("plain", Plain()), ("ours", Tracker())):
            row = {"crowd": name, "tracker": kind, **_measure(crowd, range(first, first + frames), tracker, model)}
            rows.append(row)
            print(
                f"{name:<10}{kind:<11}{row['mota']:>7.3f}{row['idf1']:>7.3f}{row['num_switches']:>10.0f}"
                f"{row['num_fragmentations']:>11.0f}{row['num_false_positives']:>7.0f}{row['recall']:>8.3f}"
                f"{row['delay_p50_s']:>20.2f}, {row['delay_p95_s']:.2f}"
            )
    if json_path:
        json_path.write_text(json.dumps({"frames": frames, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


class Plain:
    """The reference: every face counts at once, and goes to whoever was seen last within 0.8 widths of it."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Box, float]] = {}
        self._next_id = 1

    def expected(self, time_s: float) -> dict[int, Box]:
        return {person: box for person, (box, _) in self._seen.items()}

    def update(
        self,
        boxes: Sequence[Box],
        time_s: float,
        frame: tuple[float, float] | None = None,
    ) -> list[tuple[int, Box]]:
        from app.faces.tracker import distance

        self._seen = {p: (b, s) for p, (b, s) in self._seen.items() if time_s - s <= 1.5}
        people = list(self._seen)
        cost = np.array([[distance(b, self._seen[p][0]) for p in people] for b in boxes]).reshape(len(boxes), -1)
        matched = {
            i: people[j] for i, j in zip(*linear_sum_assignment(np.minimum(cost, 8)), strict=True) if cost[i, j] <= 0.8
        }
        out = []
        for i, box in enumerate(boxes):
            if i not in matched:
                matched[i], self._next_id = self._next_id, self._next_id + 1
            self._seen[matched[i]] = box, time_s
            out.append((matched[i], box))
        return out

    def unconfirmed(self) -> dict[int, int]:
        return {}

    def put(self, person: int, box: Box) -> None:
        self._seen[person] = box, self._seen[person][1]

    def drop(self, person: int) -> None:
        self._seen.pop(person, None)

    def forget_all(self) -> None:
        self._seen = {}

    def coasting(self, time_s: float) -> list[tuple[int, Box]]:
        return [(p, b) for p, (b, s) in self._seen.items() if 0 < time_s - s <= 0.3]

    def alive(self) -> set[int]:
        return set(self._seen)


def _measure(crowd: DemoCrowd, frames: range, tracker: Any, model: str) -> dict[str, float]:
    from tqdm import tqdm

    from app.compose import load_manifest, make_front_end
    from app.domain import Frame
    from app.settings import Settings
    from app.sources.demo import FPS

    front_end = make_front_end(Settings(), load_manifest(model).template, live=False, tracker=tracker)
    truth, shown, coming, late = list[Places](), list[Places](), dict[int, float](), dict[int, float]()
    for i in tqdm(frames, leave=False):
        frame = Frame(i, crowd.picture(i), (i - frames[0]) / FPS, 0.0)
        people = shown_people(front_end, frame)
        in_view = crowd.in_view(i)
        visible = [(p, b) for p, b, share in in_view if share >= 0.5]
        # Whoever is hidden by half or more need not be shown, but may be.
        hidden = [b for _, b, share in in_view if share < 0.5]
        people = [(p, b) for p, b in people if _best(b, [v for _, v in visible]) >= MATCH or _best(b, hidden) < MATCH]
        truth.append(visible)
        shown.append(people)
        for p, b in visible:
            coming.setdefault(p, frame.time_s)
            if p not in late and _best(b, [s for _, s in people]) >= MATCH:
                late[p] = frame.time_s - coming[p]
    delays = [late.get(p, float("inf")) for p in coming]
    return {**scores(truth, shown), "delay_p50_s": float(np.median(delays)), "delay_p95_s": _p95(delays)}


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def shown_people(front_end: Any, frame: Frame) -> list[tuple[int, Box]]:
    """(id, box) of everybody whom the overlay would draw."""
    prepared = front_end(frame)
    return [(f.person, f.box) for f in prepared.faces] + list(prepared.unread)


def scores(truth: list[Places], shown: list[Places]) -> dict[str, float]:
    """py-motmetrics' figures over frames of (id, box). Its own reader of boxes does not run with NumPy 2; the rest does."""
    import motmetrics

    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for real, drawn in zip(truth, shown, strict=True):
        a, b = (np.array([box for _, box in places], float).reshape(-1, 4) for places in (real, drawn))
        apart = 1 - motmetrics.distances.boxiou(a[:, None], b[None])
        accumulator.update([p for p, _ in real], [p for p, _ in drawn], np.where(apart > 1 - MATCH, np.nan, apart))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' about its own future
        figures = motmetrics.metrics.create().compute(accumulator, metrics=list(METRICS), return_dataframe=False)
    return {name: float(figures[name]) for name in METRICS}


def _best(box: Box, others: Sequence[Box]) -> float:
    """The largest intersection over union with any of the others."""
    best = 0.0
    for other in others:
        across = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
        down = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
        if across > 0 and down > 0:
            shared = across * down
            best = max(best, shared / (box.width * box.height + other.width * other.height - shared))
    return best
