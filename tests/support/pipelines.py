"""A pipeline on fakes, and its run to the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from align.geometry import PAPER_MARGINS, Template, load_mean_shape
from app.camera import View
from app.controls import Controls
from app.domain import Box, Result
from app.faces.front_end import FrontEnd
from app.faces.tracker import Tracker
from app.network.engine import Engine
from app.people.estimates import People
from app.pipeline import Pipeline
from app.rounds.delivery import Outlets
from app.rounds.serving import Scheduling
from models.manifest import Exit, Manifest
from scheduler.latency import LatencyModel
from scheduler.policy import DeepestThatFits
from tests.support.fakes import (
    MAES,
    POINTS,
    FakeClock,
    FakeEngine,
    FakeFaces,
    FakeSource,
    make_profile,
)

GENDERS, EXPRESSIONS = ("male", "female"), ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
TEMPLATE = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
MANIFEST = Manifest(
    name="fake", network=Path("fake.onnx"), sha256="", input_name="faces", input_sizes=(96,), template=TEMPLATE.points,
    genders=GENDERS, expressions=EXPRESSIONS, licence="", about={},
    exits=tuple(
        Exit(name=p.exit, block=int(p.exit[-2:]), multiply_adds={96: 10 * i + 10}, age_interval_scale={96: {50: 0.7, 68: 1.0, 90: 1.7}}, validation={96: {"mae": m, "gender": 0.9, "expression": 0.6}})
        for i, (p, m) in enumerate(zip(POINTS, MAES, strict=True))
    ),
)  # fmt: skip
WAIT_S = 20.0


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.closed = 0

    def deliver(self, result: Result) -> None:
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1


def images(n: int, side: int = 240) -> list[np.ndarray]:
    return [np.full((side, 2 * side, 3), i % 200, np.uint8) for i in range(n)]


def crowd(n: int) -> list[Box]:
    return [Box(30.0 + 50 * i, 80.0, 40.0, 40.0) for i in range(n)]


def make(source: FakeSource, boxes=None, engine: Engine | None = None, **changes) -> tuple[Pipeline, Collected]:
    clock = changes.pop("clock", FakeClock())
    sink = Collected()
    faces = FakeFaces(crowd(1) if boxes is None else boxes)
    # A clock of its own: preparing takes no time, whatever the engine does meanwhile.
    front_end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker(), changes.pop("max_faces", 32), FakeClock())
    values = {
        "front_end": front_end, "engine": engine or FakeEngine(), "people": People(GENDERS, EXPRESSIONS),
        "policy": DeepestThatFits(), "latency": LatencyModel(make_profile()), "sinks": [sink],
    } | changes  # fmt: skip
    budget_ms, protect = values.pop("budget_ms", 33.0), values.pop("protect", None)
    view = View(
        source=source, protect=protect,
        **{name: values.pop(name) for name in ("front_end", "front_end_ready") if name in values},
    )  # fmt: skip
    people = values.pop("people")
    scheduling, outlets = (
        kind(**{f.name: values.pop(f.name) for f in dataclasses.fields(kind) if f.name in values})
        for kind in (Scheduling, Outlets)
    )
    equipped = values.pop("equipped", True)
    assert not values, f"no part of a pipeline: {values}"
    pipeline = Pipeline([view], people, Controls(budget_ms), clock)
    if equipped:
        pipeline.equip(scheduling, outlets)
    return pipeline, sink


def equip(pipeline: Pipeline, sink: Collected, engine: Engine | None = None) -> None:
    """What `make(equipped=False)` left out."""
    latency = LatencyModel(make_profile())
    pipeline.equip(
        Scheduling(engine=engine or FakeEngine(), policy=DeepestThatFits(), latency=latency), Outlets(sinks=[sink])
    )


def run(pipeline: Pipeline) -> None:
    pipeline.start()
    try:
        assert pipeline.wait(WAIT_S), "the pipeline did not end"
    finally:
        pipeline.close()
