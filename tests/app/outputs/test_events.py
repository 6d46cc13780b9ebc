"""Who enters and who leaves, from results alone."""

from __future__ import annotations

import json

import numpy as np

from app.cli import main
from app.domain import FORGET_S, Box, Frame, Person, Result
from app.outputs.events import EventsWriter, Visits
from tests.support.builders import STATS, estimate


def result(time_s: float, **people: float | None) -> Result:
    """People as p1=age, p2=None (never read), ..."""
    known = (Person(int(n[1:]), Box(0, 0, 9, 9), estimate(a) if a else None, bool(a)) for n, a in people.items())
    return Result(Frame(0, np.zeros((9, 9, 3), np.uint8), time_s, 0.0), tuple(known), STATS)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_people_enter_and_leave_with_dwell_time_and_the_last_estimate(tmp_path):
    writer = EventsWriter(tmp_path / "e")
    for one in (
        result(0.0), result(1.0, p1=30.0), result(2.0, p1=31.0, p2=None), result(3.0, p2=50.0), result(3.4, p1=32.5, p2=50.0),
        result(3.4 + FORGET_S, p2=51.0), result(3.5 + FORGET_S, p2=51.5), result(4.0 + FORGET_S),
    ):  # fmt: skip
        writer.deliver(one)
    writer.close()
    found = lines(tmp_path / "e")
    assert [(e["event"], e["id"], e["time_s"]) for e in found] == [
        ("enter", 1, 1.0), ("enter", 2, 2.0), ("leave", 1, 3.4), ("leave", 2, 3.5 + FORGET_S),
    ]  # fmt: skip
    assert [e.get("dwell_s") for e in found] == [None, None, 2.4, round(1.5 + FORGET_S, 3)]
    assert [e["age"] for e in found] == [30.0, None, 32.5, 51.5]
    assert found[2]["age_low"] == 27.5 and found[2]["gender"] == "female" and found[2]["expression"] == "happy"
    assert "at" not in found[0], "a file has no time of day"


def test_the_time_of_day_is_that_of_the_event_and_not_of_the_line(tmp_path):
    writer = EventsWriter(tmp_path / "e", wall=lambda: 1_700_000_010.0)
    writer.deliver(result(5.0, p1=30.0))
    writer.deliver(result(10.0))
    writer.close()
    assert [e["at"] for e in lines(tmp_path / "e")] == ["2023-11-14T22:13:30.000Z", "2023-11-14T22:13:25.000Z"]


def test_lines_are_added_to_a_file_also_after_a_cut_one(tmp_path):
    path = tmp_path / "e"
    path.write_text('{"event":"enter"}\n{"event":"le')
    for _ in range(2):
        writer = EventsWriter(path)
        writer.deliver(result(0.0, p1=None))
        writer.close()
    assert path.read_text().splitlines()[:2] == ['{"event":"enter"}', '{"event":"le']
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()[2:]] == ["enter", "leave"] * 2


def test_nobody_is_kept_longer_than_they_are_there():
    visits = Visits()
    for i in range(1000):
        visits.update(result(float(i), **{f"p{i}": 30.0}))
    assert len(visits.end()) <= 2 and visits.end() == []


def test_a_run_over_a_clip_tells_of_its_one_man(talking_clip, tmp_path):
    path = tmp_path / "e"
    assert (
        main(
            ["run", "--source", str(talking_clip), "--no-show", "--events", str(path), "--results", str(tmp_path / "r")]
        )
        == 0
    )
    results = lines(tmp_path / "r")
    man = [r["time_s"] for r in results if any(p["id"] == 1 for p in r["people"])]
    enter, leave = (next(e for e in lines(path) if (e["event"], e["id"]) == (kind, 1)) for kind in ("enter", "leave"))
    assert (enter["time_s"], leave["time_s"]) == (man[0], man[-1])
    assert abs(leave["dwell_s"] - (man[-1] - man[0])) < 0.01 and leave["dwell_s"] > 1
    last = next(p for r in reversed(results) for p in r["people"] if p["id"] == 1)
    assert leave["age"] == last["age"] and leave["gender"] == "male"
    assert "box" not in leave
