"""The probe's arithmetic on a clock of our own, and `bench probe` on the shipped network; times decide nothing here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.cli import main
from app.commands.bench_probe import figures
from app.engine import PROVIDERS
from app.probe import SLOW, USUAL, Probe, probe_of


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
        provider = PROVIDERS["cuda"]

    assert probe_of(Engine())() == 0.0
    Engine.provider = PROVIDERS["cpu"]
    assert isinstance(probe_of(Engine()), Probe)


def test_the_benchmark_sorts_runs_by_what_was_said_before_them(tmp_path, capsys):
    made = figures([(0.0, 1.0, 20.0)] * 980 + [(2.0, 1.5, 30.0)] * 10 + [(8.0, 6.0, 90.0)] * 8 + [(0.0, 5.0, 20.0)] * 2)
    assert [round(row["share"], 3) for row in made["classes"]] == [0.982, 0.01, 0.0, 0.008, 1.0]
    assert [row["longest"] for row in made["classes"]] == [5.0, 1.5, 0.0, 6.0, 6.0]
    assert made["foretold"] == pytest.approx(0.8)
    out = tmp_path / "probe.json"
    assert main(["bench", "probe", "--frames", "300", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["frames"] == 300
    assert "were foretold" in capsys.readouterr().out


@pytest.mark.parametrize("what", [["--frames", "5"], ["--model", "nobody"]])
def test_nonsense_is_refused(what, tmp_path, capsys):
    assert main(["bench", "probe", *what, "--json", str(tmp_path / "d.json")]) != 0
    assert capsys.readouterr().err.startswith("error:")
