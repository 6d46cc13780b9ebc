"""Decision rules. A policy is called once per frame that has faces, with the frame's load and the latency model.

Live and replay call the very same objects; a policy reads no clock and no random number.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.latency import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.latency import LatencyModel


@dataclass(frozen=True, slots=True)
class Load:
    """A frame as the scheduler meets it: faces that want to be read, and milliseconds left until its deadline."""

    faces: int
    left_ms: float
    new: int = 0  # of the faces, people who were never read
    late: bool = False  # the frame before missed its deadline


@dataclass(frozen=True, slots=True)
class Decision:
    """Run `point` for `serve` of the faces; the others keep what they have. `why` is for people."""

    point: OperatingPoint
    serve: int
    predicted_ms: float
    why: str


class Policy(Protocol):
    def __call__(self, load: Load, latency: LatencyModel) -> Decision: ...

    def to_json(self) -> dict[str, Any]:
        """Name and parameters; `policy_from_json` makes the same policy, in its first state, from it."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always the same point, for all faces, whatever it costs."""

    point: OperatingPoint

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        predicted = latency.predict_ms(self.point, load.faces)
        return Decision(self.point, load.faces, predicted, f"{self.point} is fixed")

    def to_json(self) -> dict[str, Any]:
        return {"name": "fixed", "exit": self.point.exit, "size": self.point.size}


@dataclass
class DeepestThatFits:
    """The deepest point worth choosing (Profile.front) whose predicted latency for all faces fits the budget that is left.

    `margin` covers what comes after the network (fusing the estimates). A deeper point than the frame's before must fit
    with `headroom` to spare, or the choice would flicker with the noise of the clock. Where not even the cheapest fits
    for all, as many are served as fit, and at least one, so that nobody waits for ever on a machine that is too slow.
    """

    margin: float = 1.1
    headroom: float = 0.1

    def __post_init__(self) -> None:
        if not (1 <= self.margin < 100 and 0 <= self.headroom < 100):
            raise ValueError(
                f"margin must be at least 1 and headroom at least 0, got {self.margin} and {self.headroom}"
            )
        self._rank = -1

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        front = latency.profile.front
        for rank in range(len(front) - 1, -1, -1):
            predicted = latency.predict_ms(front[rank], load.faces)
            room = self.margin * (1 + self.headroom if rank > self._rank >= 0 else 1)
            if predicted * room <= load.left_ms:
                self._rank = rank
                return Decision(front[rank], load.faces, predicted, _why(load, front, rank))
        self._rank = 0
        serve = load.faces - 1
        while serve > 1 and latency.predict_ms(front[0], serve) * self.margin > load.left_ms:
            serve -= 1
        serve = max(serve, 1)
        why = f"{_plural(load.faces)}, {load.left_ms:.0f} ms left: {front[0]} for {serve}"
        return Decision(front[0], serve, latency.predict_ms(front[0], serve), why)

    def to_json(self) -> dict[str, Any]:
        return {"name": "deepest-that-fits", **asdict(self)}


def _why(load: Load, front: tuple[OperatingPoint, ...], rank: int) -> str:
    limit = "the deepest" if rank == len(front) - 1 else f"{front[rank + 1]} would not fit"
    return f"{_plural(load.faces)}, {load.left_ms:.0f} ms left: {front[rank]}, {limit}"


def _plural(faces: int) -> str:
    return f"{faces} face{'' if faces == 1 else 's'}"


def policy_from_json(data: Mapping[str, Any]) -> Policy:
    """The policy that a log's first record names. Raises ValueError for one that this version does not know."""
    name = data.get("name")
    if name == "fixed":
        return Fixed(OperatingPoint(str(data["exit"]), int(data["size"])))
    if name == "deepest-that-fits":
        return DeepestThatFits(margin=float(data["margin"]), headroom=float(data["headroom"]))
    raise ValueError(f"unknown policy {name!r}; known: deepest-that-fits, fixed")


def policy_from_text(text: str, latency_points: tuple[OperatingPoint, ...]) -> Policy:
    """A policy as people name it: `auto`, or an exit's name or block number (at its largest size, or NAME@SIZE)."""
    if text in ("auto", "deepest-that-fits"):
        return DeepestThatFits()
    exit_name, _, size = text.partition("@")
    fits = [
        p
        for p in latency_points
        if exit_name in (p.exit, p.exit.rpartition("_")[2].lstrip("0")) and (not size or size == str(p.size))
    ]
    if not fits:
        raise ValueError(f"unknown policy {text!r}; known: auto, {', '.join(map(str, latency_points))}")
    return Fixed(max(fits, key=lambda p: p.size))
