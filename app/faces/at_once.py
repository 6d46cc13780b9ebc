"""Faces of a single picture: there is no second look that could confirm them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.faces.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.domain import Box


class AtOnce(Tracker):
    """Takes every face for one as soon as it is found."""

    def update(
        self, boxes: Sequence[Box], time_s: float, frame: tuple[float, float] | None = None
    ) -> list[tuple[int, Box]]:
        people = super().update(boxes, time_s, frame)
        for person in list(self.unconfirmed()):
            self.confirm(person)
        return people
