from __future__ import annotations

import pytest

from app.sources.open import Playing, open_source
from app.sources.selection import Selection
from tests.support.videos import error, make


def chosen(selection: Selection, times_s: list[float]) -> list[float]:
    chooser = selection.chooser()
    return [t for t in times_s if not chooser.is_over(t) and chooser.wants(t)]


TIMES = [i / 25 for i in range(50)]


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), TIMES),
        (Selection(start_s=1.0, end_s=1.2), [1.0, 1.04, 1.08, 1.12, 1.16]),
        (Selection(every="0.5"), [0, 0.52, 1.0, 1.52]),
        (Selection(every="10th"), [0, 0.4, 0.8, 1.2, 1.6]),
        (Selection(every="0.5s", start_s=1.2), [1.2, 1.72]),
        (Selection(every="1st", end_s=0.1), [0, 0.04, 0.08]),
    ],
)
def test_which_pictures_are_wanted(selection, wanted):
    assert chosen(selection, TIMES) == pytest.approx(wanted)


def test_after_a_gap_the_grid_goes_on():
    assert chosen(Selection(every="1"), [0, 0.5, 40.3, 40.9, 41.0]) == [0, 40.3, 41.0]


@pytest.mark.parametrize(
    "nonsense", [{"every": "often"}, {"every": "0"}, {"every": "0th"}, {"start_s": 5.0, "end_s": 5.0}]
)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError):
        Selection(**nonsense)


def test_pictures_keep_their_numbers_and_times(tmp_path):
    path = make(tmp_path / "a.mp4", 50)
    source = open_source(str(path), Playing(selection=Selection(start_s=0.4, end_s=1.2, every="5th")))
    frames = list(source)
    assert [f.id for f in frames] == [10, 15, 20, 25] and source.damaged == ""
    assert [f.time_s for f in frames] == pytest.approx([0.4, 0.6, 0.8, 1.0], abs=1e-3)
    assert max(error(f.image, f.id) for f in frames) < 8
