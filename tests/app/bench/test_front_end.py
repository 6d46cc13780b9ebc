from __future__ import annotations

import json

import numpy as np
import pytest

from app.bench.front_end import TURN, Arm, delays, matched, overlap, quality, run
from app.cli import main
from app.domain import Box, Frame

A, B = Box(100, 100, 50, 50), Box(300, 100, 60, 60)
NEAR_A, NOWHERE = Box(105, 98, 50, 50), Box(600, 600, 50, 50)


def test_overlap_is_intersection_over_union():
    assert overlap(A, A) == 1.0 and overlap(A, B) == 0.0
    assert overlap(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == pytest.approx(50 / 150)


def test_a_box_counts_for_one_face_only():
    assert matched([NEAR_A, NOWHERE], {1: A, 2: B}) == {1}
    assert matched([NEAR_A], {1: A, 2: A}) == {1}


def test_recall_and_false_faces():
    figures = quality([[NEAR_A, NOWHERE], [], [NEAR_A, B]], [{1: A, 2: B}, {}, {1: A, 2: B}])
    assert figures == {"recall": 0.75, "false_per_frame": pytest.approx(1 / 3)}
    assert quality([[]], [{}])["recall"] is None


def test_delays_count_from_first_in_view():
    assert delays([[], [], [A], [A, B]], [{}, {1: A}, {1: A}, {1: A, 2: B}]) == [1, 0]
    assert delays([[], []], [{1: A}, {1: A}]) == []


def test_every_way_gets_every_frame_once_and_they_take_turns():
    class Way:
        def take(self, frames: list[int]) -> None:
            seen.extend((self, frame) for frame in frames)

    seen: list[tuple[Way, int]] = []
    one, other = Way(), Way()
    run({"one": one, "other": other}, range(2 * TURN + 3))
    for way in (one, other):
        assert [frame for taken, frame in seen if taken is way] == list(range(2 * TURN + 3))
    turns = [way for (way, _), (before, _) in zip(seen[1:], seen[:-1], strict=True) if way is not before]
    assert len(turns) == 3, "who went last in a turn goes first in the next"


def test_frames_are_given_at_their_own_pace():
    paused: list[float] = []
    arm = Arm(lambda frame: [A], paced=True)
    arm.take([Frame(i, np.zeros((1, 1, 3), np.uint8), 5 + i / 25, 0.0) for i in range(3)], paused.append)
    assert arm.boxes == [[A]] * 3 and paused[0] == 0 and paused[2] > paused[1] > 0.0


def test_the_bench_compares_both_ways_on_the_same_frames(tmp_path, capsys):
    out = tmp_path / "report.json"
    assert main(["bench", "front-end", "--faces", "0,1", "--frames", "25", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert [row["faces"] for row in report["rows"]] == [0, 1]
    assert report["rows"][1]["plain"]["recall"] > 0.9 and report["rows"][0]["followed"]["false_per_frame"] == 0
    assert "from picture to aligned faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args", [["--frames", "3"], ["--faces", "1..4"], ["--faces", "1,99"], ["--detector", "hog"], ["--detector", "yunet:none.onnx"]]
)  # fmt: skip
def test_nonsense_is_refused(args, capsys):
    assert main(["bench", "front-end", *args]) in (2, 4)
    assert capsys.readouterr().err.startswith("error: ")
