from __future__ import annotations

from collections import Counter

from app.domain import DropCause
from app.reports.summary import summary
from app.totals import Totals


def test_frames_that_are_lost_and_faces_that_are_not_read_are_told_apart():
    drops = Counter({DropCause.NO_BUDGET: 12, DropCause.GRAB_FULL: 3, DropCause.FAILED: 1})
    totals = Totals(frames=5, faces=20, read=8, drops=drops, first_result_s=1.0, last_result_s=2.0)
    totals.ages_ms.append(20.0)
    told = [line for line in summary(totals, 0.0, 66.7) if line.startswith(("dropped", "unread"))]
    assert told == [
        f"dropped   3 frames: {DropCause.GRAB_FULL.value}",
        f"dropped   1 frames: {DropCause.FAILED.value}",
        f"unread    12 faces: {DropCause.NO_BUDGET.value}",
    ]
