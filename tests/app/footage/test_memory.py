"""Nothing of a frame is kept: a looped file's memory, as Python counts it, stays where it was."""

from __future__ import annotations

import gc
import tracemalloc

import cv2
import pytest
from skimage.data import astronaut

from app import camera
from app.compose import build
from app.domain import Result
from app.outputs.formats import results_writer
from app.pipeline import Pipeline
from app.settings import Settings
from tests.support.pipelines import WAIT_S
from tests.support.videos import make

WARM, FRAMES, SAMPLES = 60, 240, 30  # a pass has thirty
# Bytes a frame: its age is kept for the summary (of the last 36,000), and NumPy's store of small blocks still fills. A Result
# that is kept has 1,500; pictures are not counted, since FFmpeg owns them.
MOST = 200


class Watch:
    """A sink that notes the least that is in use over some frames, twice, and ends the run. How many pictures wait differs."""

    def __init__(self) -> None:
        self.early: list[int] = []
        self.late: list[int] = []
        self.pipeline: Pipeline | None = None
        self.keeps: list[Result] | None = None

    def deliver(self, result: Result) -> None:
        if self.keeps is not None:
            self.keeps.append(result)
        for noted, first in ((self.early, WARM), (self.late, WARM + FRAMES)):
            if first <= result.frame.id < first + SAMPLES:
                gc.collect()
                noted.append(tracemalloc.get_traced_memory()[0])
        if len(self.late) == SAMPLES:
            self.pipeline.stop()

    def close(self) -> None:
        """There is nothing to end."""


@pytest.fixture(autouse=True)
def one_ahead(monkeypatch):
    monkeypatch.setattr(camera, "AHEAD", 1)


def grown(tmp_path, watch: Watch) -> float:
    """Bytes a frame."""
    clip = make(
        tmp_path / "clip.mp4", 30, size=(160, 160), draw=lambda i, size: cv2.resize(astronaut()[..., ::-1], size)
    )
    written = results_writer(tmp_path / "r.jsonl", counts_only=False)
    app = build(Settings(source=str(clip), show=False, loop=True, exit="exit_04"), watch=[written, watch])
    watch.pipeline = app.pipeline
    tracemalloc.start()
    try:
        app.pipeline.start()
        assert app.pipeline.wait(6 * WAIT_S)
    finally:
        app.pipeline.close()
        tracemalloc.stop()
    assert app.pipeline.failure is None and app.pipeline.totals.read > FRAMES
    return (min(watch.late) - min(watch.early)) / FRAMES


def test_nothing_of_a_frame_is_kept(tmp_path):
    assert grown(tmp_path, Watch()) < MOST


def test_what_is_kept_is_noticed(tmp_path):
    watch = Watch()
    watch.keeps = []
    assert grown(tmp_path, watch) > 3 * MOST
