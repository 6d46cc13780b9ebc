"""Points become ready behind a run that goes on."""

from __future__ import annotations

import threading

import pytest

from app.errors import DeviceError, ModelError
from app.network.loading import Loading, first_of, nearest
from scheduler.policy import DeepestThatFits
from tests.support.fakes import POINTS, FakeEngine, make_profile

WAIT_S = 20.0


class Slow(FakeEngine):
    """Loads a point when it is allowed to; `fails` has points that cannot be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.ready = (*POINTS, POINTS[0]._replace(size=64)), (POINTS[1],)
        self.gate, self.fails = threading.Semaphore(0), {}

    def load(self, point):
        self.gate.acquire()
        if point in self.fails:
            raise self.fails[point]
        super().load(point)


def loading(engine, chosen=lambda: None):
    allowed, told = [], []
    made = Loading(engine, make_profile(), chosen, allowed.extend, told.append)
    return made, allowed, told


def test_the_first_point_is_what_the_policy_takes_for_a_few_faces_unless_one_is_loaded():
    engine, policy = FakeEngine(), DeepestThatFits(margin=1.0)
    engine.ready = ()
    assert first_of(engine, policy, make_profile(), 100.0) == POINTS[2]
    assert first_of(engine, policy, make_profile(), 10.0) == POINTS[0]
    assert policy == DeepestThatFits(margin=1.0) and policy._rank == -1, "the run's own rule has decided nothing yet"
    engine.ready = POINTS[1:2]
    assert first_of(engine, policy, make_profile(), 100.0) == POINTS[1]


def test_the_nearest_on_the_front_comes_first():
    off = POINTS[0]._replace(size=64)
    assert nearest([off, *POINTS[:2]], POINTS, POINTS[2]) == POINTS[1]
    assert nearest([off, POINTS[2]], POINTS, POINTS[0]) == POINTS[2]
    assert nearest([off], POINTS, POINTS[0]) == off


def test_points_come_by_the_way_they_are_chosen():
    engine, chosen = Slow(), [POINTS[2]]
    made, allowed, told = loading(engine, lambda: chosen[0])
    made.start()
    assert not made.done() and allowed == []
    for _ in range(3):
        engine.gate.release()
    made._thread.join(WAIT_S)
    assert made.done() and allowed == [POINTS[2], POINTS[0], POINTS[0]._replace(size=64)] and not told


@pytest.mark.parametrize(
    ("error", "allowed"), [(ModelError("no"), [POINTS[2], POINTS[0]._replace(size=64)]), (DeviceError("full"), [])]
)
def test_what_cannot_be_loaded_is_told_and_the_run_goes_on(error, allowed):
    """A full GPU is asked for nothing more."""
    engine = Slow()
    engine.fails[POINTS[0]] = error
    made, got, told = loading(engine)
    for _ in range(3):
        engine.gate.release()
    made.start()
    made._thread.join(WAIT_S)
    assert got == allowed and len(told) == 1 and str(error) in told[0]


def test_it_can_be_ended_while_a_point_is_loaded():
    engine = Slow()
    made, allowed, _ = loading(engine)
    made.start()
    made._stopping.set()
    engine.gate.release()
    made.close()
    assert made.done() and len(allowed) <= 1
