"""The probe's arithmetic on a clock of our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.network.onnx_cpu import CPU
from app.network.onnx_cuda import CUDA
from app.network.probe import SLOW, USUAL, Probe, probe_of


class Pieces:
    """A clock under which the two pieces of each measurement take what the test says."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, float]] = []
        self._reads = self._all()

    def _all(self) -> Iterator[float]:
        now = 0.0
        while True:
            first, second = self.pieces.pop(0) if self.pieces else (5.0, 5.0)
            for step in (1.0, first, second):
                now += step
                yield now

    def __call__(self) -> float:
        return next(self._reads)

    def next(self, *pieces: tuple[float, float]) -> None:
        self.pieces += pieces


def test_as_usual_says_nothing_and_a_slow_moment_by_how_much():
    clock = Pieces()
    probe = Probe(clock)
    clock.next((5.0, 5.0), (5.0 * (SLOW - 0.01), 50.0), (40.0, 45.0), (5.0, 5.0))
    assert [probe() for _ in range(4)] == [0.0, 0.0, pytest.approx(8.0), 0.0]


def test_losing_the_core_for_a_moment_is_no_slow_machine():
    clock = Pieces()
    probe = Probe(clock)
    clock.next((4000.0, 5.0), (5.0, 4000.0))
    assert [probe(), probe()] == [0.0, 0.0]


def test_what_lasts_becomes_usual():
    clock = Pieces()
    probe = Probe(clock)
    clock.next(*[(20.0, 20.0)] * USUAL)
    said = [probe() for _ in range(USUAL)]
    assert said == [pytest.approx(4.0)] * (USUAL // 2) + [0.0] * (USUAL - USUAL // 2)


def test_where_the_network_runs_elsewhere_nothing_is_known():
    class Engine:
        provider = CUDA

    assert probe_of(Engine())() == 0.0
    Engine.provider = CPU
    assert isinstance(probe_of(Engine()), Probe)
