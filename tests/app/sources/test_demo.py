from __future__ import annotations

import shutil
import tomllib
from itertools import pairwise

import cv2
import numpy as np
import pytest

from app.domain import Box
from app.errors import SourceError
from app.sources import figures
from app.sources.demo import (
    CYCLE_FRAMES,
    FPS,
    MAX_PEOPLE,
    SHOWN_PEOPLE,
    DemoCrowd,
    DemoSource,
    default_crowd,
    demo_crowd,
)
from app.sources.open import open_source
from app.sources.stands import HEIGHT, WIDTH

FULL_FRAME = round(20 * FPS)


@pytest.fixture(scope="module")
def crowd() -> DemoCrowd:
    return DemoCrowd()


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0) * max(height, 0)
    return shared / (a.width * a.height + b.width * b.height - shared)


def recall(crowd: DemoCrowd, frame_ids: range) -> float:
    """Share of the true faces that Viola-Jones finds at half size."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    found = faces = 0
    for frame_id in frame_ids:
        grey = cv2.cvtColor(cv2.resize(crowd.picture(frame_id), (480, 270)), cv2.COLOR_BGR2GRAY)
        boxes = [Box(*(2.0 * np.array(box))) for box in cascade.detectMultiScale(grey, 1.15, 3, minSize=(24, 24))]
        truth = [box for _, box in crowd.truth(frame_id)]
        faces += len(truth)
        found += sum(any(overlap(box, face) > 0.4 for box in boxes) for face in truth)
    return found / faces


def test_a_frame_depends_on_its_number_alone(crowd: DemoCrowd) -> None:
    later = crowd.picture(300)
    np.testing.assert_array_equal(DemoCrowd().picture(300), later)
    np.testing.assert_array_equal(crowd.picture(300 + CYCLE_FRAMES), later)
    assert crowd.truth(300) == DemoCrowd().truth(300) == crowd.truth(300 + CYCLE_FRAMES)
    assert not np.array_equal(crowd.picture(301), later)


def test_pictures_are_frames(crowd: DemoCrowd) -> None:
    picture = crowd.picture(FULL_FRAME)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8


def test_grows_from_nobody_to_twelve_and_back_one_by_one(crowd: DemoCrowd) -> None:
    counts = [len(crowd.truth(frame_id)) for frame_id in range(CYCLE_FRAMES)]
    assert counts[0] == counts[-1] == 0
    assert max(counts) == counts[FULL_FRAME] == SHOWN_PEOPLE
    assert all(abs(b - a) <= 1 for a, b in pairwise(counts))
    peak = counts.index(SHOWN_PEOPLE)
    assert counts[:peak] == sorted(counts[:peak])
    assert counts[FULL_FRAME:] == sorted(counts[FULL_FRAME:], reverse=True)
    assert {default_crowd(s / 10) for s in range(400)} == set(range(13))


def test_seated_faces_lie_inside_and_do_not_cover_each_other(crowd: DemoCrowd) -> None:
    for frame_id in range(FULL_FRAME - 25, FULL_FRAME + 75, 10):
        boxes = [box for _, box in crowd.truth(frame_id)]
        assert len(boxes) == SHOWN_PEOPLE
        for i, box in enumerate(boxes):
            assert box.x >= 0 and box.y >= 0 and box.x + box.width <= WIDTH and box.y + box.height <= HEIGHT
            assert 50 <= box.width <= 105
            assert all(overlap(box, other) == 0 for other in boxes[i + 1 :])


def test_people_move_slowly_and_keep_their_number(crowd: DemoCrowd) -> None:
    for frame_id in range(FULL_FRAME, FULL_FRAME + 50):
        before, after = dict(crowd.truth(frame_id)), dict(crowd.truth(frame_id + 1))
        for person, box in before.items():
            assert np.hypot(*np.subtract(box.centre, after[person].centre)) < 2


def test_nobody_in_view_is_the_empty_stands(crowd: DemoCrowd) -> None:
    empty = DemoCrowd(lambda time_s: 0)
    np.testing.assert_array_equal(crowd.picture(0), empty.picture(123))
    assert empty.truth(123) == []


def test_viola_jones_finds_the_full_crowd(crowd: DemoCrowd) -> None:
    assert recall(crowd, range(FULL_FRAME - 25, FULL_FRAME + 75, 20)) >= 0.9


@pytest.mark.parametrize("people", [1, 13, MAX_PEOPLE])
def test_any_wanted_number_is_there_from_the_start(people: int) -> None:
    crowd = DemoCrowd(lambda time_s: people)
    assert {len(crowd.truth(frame_id)) for frame_id in range(0, CYCLE_FRAMES, 100)} == {people}
    assert recall(crowd, range(0, 400, 200)) >= 0.9


@pytest.mark.parametrize("people", [-1, MAX_PEOPLE + 1])
def test_refuses_impossible_crowds(people: int) -> None:
    with pytest.raises(ValueError, match=f"0 to {MAX_PEOPLE}"):
        DemoCrowd(lambda time_s: people)


def test_source_ends_after_one_cycle() -> None:
    source = DemoSource(lambda time_s: 0, paced=False)
    times = {frame.id: frame.time_s for frame in source}  # the frames themselves would fill 1.5 GB
    assert list(times) == list(range(CYCLE_FRAMES)) and source.frame_count == CYCLE_FRAMES
    assert times[CYCLE_FRAMES - 1] == pytest.approx((CYCLE_FRAMES - 1) / FPS)
    assert (source.name, source.live, source.fps) == ("demo crowd", False, FPS)


def test_source_loops_with_rising_ids() -> None:
    source = DemoSource(lambda time_s: 0, paced=False, loop=True)
    ids = [frame.id for frame, _ in zip(source, range(CYCLE_FRAMES + 5), strict=False)]
    assert ids == list(range(CYCLE_FRAMES + 5)) and source.frame_count is None


def test_source_is_paced_by_the_clock() -> None:
    now = 100.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    source = open_source("demo", clock=lambda: now, wait=wait)
    assert source.live
    frames = [frame for frame, _ in zip(source, range(10), strict=False)]
    assert [frame.born_s for frame in frames] == pytest.approx([100 + i / FPS for i in range(10)])


def test_source_ends_when_closed() -> None:
    source = DemoSource(lambda time_s: 0, paced=False, loop=True)
    for frame in source:
        if frame.id == 3:
            source.close()
    assert frame.id == 3


@pytest.mark.parametrize(("spec", "most"), [("demo", 12), ("demo:32", 32), ("demo:1", 1), ("demo:40", 40)])
def test_the_demo_swells_to_as_many_people_as_are_asked_for(spec, most):
    crowd = demo_crowd(spec)
    sizes = [crowd(i / 25) for i in range(1000)]
    assert sizes[0] == 0 and max(sizes) == most == sizes[20 * 25] and sizes[-1] == 0
    assert max(abs(a - b) for a, b in pairwise(sizes)) <= 2


@pytest.mark.parametrize("spec", ["demo:", "demo:0", "demo:41", "demo:x", "demo:-3"])
def test_a_crowd_that_cannot_be_is_refused(spec):
    with pytest.raises(SourceError, match="from 1 to 40 people"):
        demo_crowd(spec)


def test_other_words_are_no_demo():
    assert demo_crowd("0") is None and demo_crowd("demonstration.mp4") is None


def test_the_demo_shows_at_least_six_portraits_and_benchmarks_one_as_before():
    mixed, plain = DemoCrowd(lambda _: 12, mixed=True), DemoCrowd(lambda _: 12)
    assert mixed.truth(500) == plain.truth(500), "faces are where they were"
    one, other = mixed.picture(500), plain.picture(500)
    changed = {person for person, box in mixed.truth(500) if (_face(one, box) != _face(other, box)).any()}
    portraits = len(figures.load_figures())
    assert portraits >= 6
    assert changed == {person for person, _ in plain.truth(500) if person % portraits}


def test_viola_jones_finds_the_portraits():
    assert recall(DemoCrowd(lambda _: 12, mixed=True), range(0, 400, 100)) >= 0.9


def test_every_figure_has_its_source_and_licence_and_a_cut_out_picture():
    table = tomllib.loads((figures.FOLDER / "figures.toml").read_text(encoding="utf-8"))["figure"]
    assert {path.name for path in figures.FOLDER.glob("*.png")} == {
        entry[key] for entry in table for key in ("file", "hair") if key in entry
    }
    for entry, figure in zip(table, figures.load_figures(), strict=True):
        assert all(entry[key] for key in ("who", "age", "source", "licence"))
        assert figure.image.shape == (284, 314, 3)
        assert figure.opacity.min() == 0 and figure.opacity.max() == 1


def test_a_figure_that_is_gone_is_told(monkeypatch, tmp_path):
    shutil.copy(figures.FOLDER / "figures.toml", tmp_path)
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    with pytest.raises(SourceError, match=r"collins\.png cannot be read. Restore it"):
        DemoCrowd()


def _face(picture, box):
    return picture[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)]
