"""The loop that `bench crowd` measures: policy and engine as in the pipeline, on a picture of noise, no front end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from app.network.engine import bucket_of
from scheduler.crowd import Guests
from scheduler.latency import LatencyModel
from scheduler.log import Batch, FrameRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.network.engine import Engine
    from scheduler.load import Load
    from scheduler.policy import Policy
    from scheduler.profile import Profile


class Loop:
    """Takes frames through policy and engine, one after another, and remembers them."""

    def __init__(
        self, engine: Engine, policy: Policy, latency: LatencyModel, began: float, probe: Callable[[], float]
    ) -> None:
        self._engine, self._policy, self._latency, self._began, self._probe = engine, policy, latency, began, probe
        self._guests = Guests()
        self._picture = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
        self._matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])

    def with_the_cheapest_alone(self, profile: Profile) -> Loop:
        """One of its own for the same engine, for the run that the misses are compared with."""
        points = tuple(p for p in profile.points if p.point == profile.front[0])
        latency = LatencyModel(replace(profile, points=points))
        return Loop(self._engine, replace(self._policy), latency, self._began, self._probe)

    def frame(self, number: int, born: float, budget_ms: float, load: Load) -> tuple[FrameRecord, tuple[float, float]]:
        """Decides and runs; the record, and the microseconds that the decision took, by the clock and on the core.
        `load.left_ms` and `load.probe` are filled in here."""
        from align.crop import crop_batch

        engine, latency = self._engine, self._latency
        probe = self._probe() if load.faces else 0.0
        people = self._guests.at(born * 1e3, load.faces, load.new, self._policy)
        load = load._replace(left_ms=budget_ms - (time.perf_counter() - born) * 1e3, probe=probe, people=people)
        point, served, predicted, took, decide_us, slowdown, tail = None, 0, 0.0, 0.0, (0.0, 0.0), latency.slowdown, 1.0
        further = list[Batch]()
        if load.faces:
            asked, on_core = time.perf_counter(), time.thread_time()
            decision = self._policy(load, latency)
            own = time.thread_time() - on_core
            decided = time.perf_counter()
            decide_us = (decided - asked) * 1e6, own * 1e6
            tail = latency.tail
            if decision.serve:
                point, served, predicted = decision.point, decision.serve, decision.predicted_ms
                engine.read(point, crop_batch(self._picture, [self._matrix] * served, point.size))
                took = (time.perf_counter() - decided) * 1e3
                latency.observe(point, served, took, load)
                self._guests.read(served, latency.profile.error(point))
                further = self._further(load, served, born, budget_ms)
        age = (time.perf_counter() - born) * 1e3
        record = FrameRecord(
            id=number,
            time_s=born - self._began,
            faces=load.faces,
            wanted=load.faces,
            new=load.new,
            served=served,
            exit=point.exit if point else "",
            size=point.size if point else 0,
            engine=point.engine if point else "",
            bucket=bucket_of(self._engine.buckets, served) if served else 0,
            budget_ms=budget_ms,
            left_ms=load.left_ms,
            probe=load.probe,
            predicted_ms=predicted,
            measured_ms=took,
            slowdown=slowdown,
            tail=tail,
            age_ms=age,
            miss=age > budget_ms,
            provider=engine.provider,
            further=tuple(further),
            people=load.people,
        )
        return record, decide_us

    def _further(self, load: Load, served: int, born: float, budget_ms: float) -> list[Batch]:
        """Asks again after each batch whether there is time for another, as the pipeline does."""
        from align.crop import crop_batch

        further = list[Batch]()
        while served < load.faces:
            left_ms = budget_ms - (time.perf_counter() - born) * 1e3
            rest = load.after(served, left_ms, 1 + len(further))
            again = self._policy.again(rest, self._latency)
            if again is None:
                return [*further, Batch(left_ms)]
            started = time.perf_counter()
            point, count = again.point, again.serve
            self._engine.read(point, crop_batch(self._picture, [self._matrix] * count, point.size))
            took = (time.perf_counter() - started) * 1e3
            self._latency.observe(point, count, took, rest)
            self._guests.read(count, self._latency.profile.error(point))
            further.append(Batch(left_ms, count, point.exit, point.size, again.predicted_ms, took, point.engine))
            served += count
        return further
