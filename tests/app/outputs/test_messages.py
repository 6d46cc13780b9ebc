"""What other systems hear: numbers of people, and nothing about one of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app.domain import FORGET_S, Box, Frame, Person, Result
from app.outputs.messages import Messages
from app.outputs.privacy import Aggregate
from tests.support.builders import STATS, estimate


def result(time_s: float, **people: float | None) -> Result:
    """People as p1=age, p2=None (never read), ..."""
    known = (Person(int(n[1:]), Box(0, 0, 9, 9), estimate(a) if a else None, bool(a)) for n, a in people.items())
    return Result(Frame(0, np.zeros((9, 9, 3), np.uint8), time_s, 0.0), tuple(known), STATS)


def told(messages: Messages, *results: Result) -> list[dict]:
    return [m.body for one in results for m in messages.of(one)] + [m.body for m in messages.end()]


def picked(bodies: list[dict], kind: str, *fields: str) -> list[tuple]:
    return [tuple(b[f] for f in fields) for b in bodies if b["type"] == kind]


def test_who_comes_and_goes_is_told_as_a_number_in_view():
    bodies = told(
        Messages(run="r"), result(0.0), result(1.0, p1=30.0), result(2.0, p1=30.0, p2=None), result(3.6 + FORGET_S)
    )
    assert [(b["type"], b["present"]) for b in bodies if b["type"] != "summary"] == [
        ("enter", 1), ("enter", 2), ("leave", 0), ("leave", 0),
    ]  # fmt: skip
    assert [b["number"] for b in bodies] == list(range(5)) and {b["run"] for b in bodies} == {"r"}
    assert "at" not in bodies[0], "a file has no time of day"


def test_a_summary_every_ten_seconds_and_one_at_the_end():
    bodies = told(
        Messages(), result(0.0, p1=30.0), result(5.0, p1=30.0, p2=40.0), result(8.0, p1=30.0), result(10.0), result(12.0, p3=9.0)
    )  # fmt: skip
    assert picked(bodies, "summary", "seconds", "present", "most", "entered", "left", "total") == [
        (10.0, 0, 2, 2, 2, 2), (2.0, 0, 1, 1, 1, 3),
    ]  # fmt: skip


def test_dwell_and_age_are_told_of_five_or_more_together_and_nobody_is_left_out():
    messages, bodies = Messages(), []
    for i in range(12):  # one after another, 4 s each, so that each ten seconds have two or three
        for moment in (0.0, 3.0):
            bodies += [m.body for m in messages.of(result(4.0 * i + moment, **{f"p{i}": 20.0 + i if i else None}))]
    bodies += [m.body for m in messages.end()]
    visits = [b for b in bodies if b["type"] == "summary" and b["visits"]]
    assert all(
        b["visits"] >= 5 and sum(b["ages"].values()) == sum(b["dwell_s"].values()) == b["visits"] for b in visits
    )
    assert sum(b["visits"] for b in visits) >= 12 - 4, "fewer than five still wait"
    assert visits[0]["ages"] == {"unknown": 1, "18-24": 4} and visits[0]["dwell_s"] == {"0-5": 5}
    assert all(b["ages"] is None and b["dwell_s"] is None for b in bodies if b["type"] == "summary" and not b["visits"])


@pytest.mark.parametrize("aggregate", [False, True])
def test_nothing_in_any_message_is_about_one_person(aggregate):
    protect, messages = Aggregate(window_s=30.0), Messages(wall=lambda: 1_700_000_000.0)
    results = [result(2.0 * i, **{f"p{1000 + i // 3 + k}": 41.5 for k in range(2)}) for i in range(60)]
    bodies = told(messages, *(protect(r, []) if aggregate else r for r in results))
    allowed = {
        "type",
        "schema",
        "run",
        "number",
        "time_s",
        "at",
        "present",
        "seconds",
        "most",
        "entered",
        "left",
        "total",
    }
    groups = {"visits", "dwell_s", "ages"} | (
        {"from_s", "to_s", "people", "genders", "expressions"} if aggregate else set()
    )
    assert {k for b in bodies for k in b} <= allowed | groups
    text = json.dumps(bodies)
    assert not any(str(1000 + i) in text.replace("1700000", "") for i in range(25)) and "41.5" not in text


def test_taken_together_the_counts_are_the_same():
    """With `--privacy aggregate` no result has people; who came and went is what its counts grew by."""
    results = [result(float(i), **{f"p{i // 4}": 30.0, f"p{50 + i // 7}": None}) for i in range(70)]
    plain = told(Messages(), *results)
    protect = Aggregate(window_s=25.0)
    counted = told(Messages(), *(protect(r, []) for r in results))
    wanted = picked(plain, "summary", "present", "entered", "left", "total")[:-1]
    assert picked(counted, "summary", "present", "entered", "left", "total")[: len(wanted)] == wanted
    assert next(b["people"] for b in counted if b["type"] == "window") == 11
    assert not picked(counted, "enter") and not picked(counted, "leave")
