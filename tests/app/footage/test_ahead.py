"""A file's frames are decoded, and looked at, ahead of each other: the same answer as one step after the other, to the last digit."""

from __future__ import annotations

import hashlib
import threading

import pytest

from app import camera
from app.bench.footage_plain import one_after_the_other
from app.compose import build
from app.domain import Result
from app.settings import Settings
from tests.support.fakes import FakeSource
from tests.support.paths import SHARED
from tests.support.pipelines import WAIT_S, images, make, run

CLIP = SHARED / "clips" / "group-of-five.mp4"


class Digest:
    """A sink that boils results down to a hash."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def deliver(self, result: Result) -> None:
        self._hash.update(repr((result.frame.id, result.frame.time_s, result.people)).encode())

    def close(self) -> None:
        """There is nothing to end."""

    def __str__(self) -> str:
        return self._hash.hexdigest()


def test_what_waits_is_bounded_by_what_pictures_take(monkeypatch):
    """Pictures as large as the whole allowance: one waits, and nothing is lost."""
    monkeypatch.setattr(camera, "AHEAD_BYTES", 1.0)
    pipeline, sink = make(FakeSource(images(12)))
    assert pipeline.cameras[0].grabbed._weigh(next(iter(FakeSource(images(1))))) >= 1
    run(pipeline)
    assert len(sink.results) == 12


def test_a_stop_ends_it_however_much_waits():
    gate = threading.Semaphore(3)
    pipeline, sink = make(FakeSource(images(100), gate=gate))
    pipeline.start()
    pipeline.stop()
    gate.release(100)
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert pipeline.failure is None and sink.closed == 1


@pytest.mark.skipif(not CLIP.exists(), reason=f"{CLIP.name} does not lie beside the checkout")
@pytest.mark.parametrize(
    "options", [{}, {"every_frame": True, "end": 0.2}, {"detector": "viola-jones", "every": "3rd"}]
)
def test_real_footage_gives_the_same_to_the_last_digit_on_one_thread_and_ahead(options):
    answers = set()
    for read in (one_after_the_other, lambda app: run(app.pipeline)):
        digest = Digest()
        settings = Settings(source=str(CLIP), show=False, **({"end": 1.0} | options))
        app = build(settings, watch=[digest])
        read(app)
        assert app.pipeline.totals.read
        answers.add(str(digest))
    assert len(answers) == 1
