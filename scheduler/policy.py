"""Decision rules. A policy is called once per frame that has faces, with the frame's load and the latency model.

Live, replay and simulation call the very same objects; a policy reads no clock and no random number.

The rule of `--exit auto` is LeastError. What it weighs: a deeper point errs less, and takes longer, so that fewer people
can be read in this frame and each waits longer for the next turn; what is known of somebody is worth less and less while
they wait. DeepestThatFits is the plain rule that it is measured against (docs/reference/scheduler.md).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from scheduler.latency import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.latency import LatencyModel


class Load(NamedTuple):
    """A frame as the scheduler meets it: faces that want to be read, and milliseconds left until its deadline."""

    faces: int
    left_ms: float
    new: int = 0  # of the faces, people who were never read
    late: bool = False  # the frame before missed its deadline
    frame: int = 0  # its number; only an oracle looks at it
    batches: int = 0  # run for this frame already, for others of its people
    taken_ms: float = 0.0  # since the frame's first decision
    probe: float = 0.0  # how many times slower than usual the machine is just now; 0: about as usual, or nobody looked
    read: int = 0  # of the frame's people, by the batches already run; they are shown when the last is done
    read_new: int = 0  # of those, people who had never been read

    def after(self, served: int, left_ms: float, batches: int) -> Load:
        """Of a frame's first load: what a policy is asked about again, `served` of its faces having been read in `batches`."""
        read_new = min(self.new, served)
        taken_ms = self.left_ms - left_ms
        return Load(
            self.faces - served,
            left_ms,
            self.new - read_new,
            self.late,
            self.frame,
            batches,
            taken_ms,
            read=served,
            read_new=read_new,
        )


class Decision(NamedTuple):
    """Run `point` for `serve` of the faces; the others keep what they have.

    `also` names further batches of the same frame, for those who are next in turn; only simulation knows them.
    """

    point: OperatingPoint
    serve: int
    predicted_ms: float
    load: Load | None = None  # what it answers, where it looked at that
    also: tuple[tuple[OperatingPoint, int], ...] = ()

    @property
    def why(self) -> str:
        """For people; made only where somebody looks."""
        if self.load is None:
            return f"{self.point} is fixed"
        faces = f"{self.load.faces} face{'' if self.load.faces == 1 else 's'}"
        turns = "" if self.serve == self.load.faces else f", {self.serve} of them in this frame"
        slow = f", a moment {self.load.probe:.0f} times slower than usual" if self.load.probe else ""
        return f"{faces}, {self.load.left_ms:.0f} ms left{slow}: {self.point}{turns}"


class Policy(Protocol):
    def __call__(self, load: Load, latency: LatencyModel) -> Decision: ...

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        """After a batch: whether there is time for another, for those of the frame's people who are still to be read."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Name and parameters; `policy_from_json` makes the same policy, in its first state, from it."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always the same point, for all faces, whatever it costs."""

    point: OperatingPoint

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        predicted = latency.predict_ms(self.point, load.faces, load.probe)
        return Decision(self.point, load.faces, predicted)

    def again(self, load: Load, latency: LatencyModel) -> None:
        return None

    def to_json(self) -> dict[str, Any]:
        return {"name": "fixed", **self.point.to_json()}


@dataclass
class LeastError:
    """The point, and the number of people, with the least expected error of what is on screen.

    Everybody is read in turn, those who were never read first, then who waited longest. A point that reads m of n faces
    in T ms gives each of them a turn every n / m frames, so what is on screen was seen T + n / m x period / 2 ago on
    average. Of newcomers nothing is known for T, and of those of them who are not read in this frame for longer. Where
    answers are worth 1 / e after `memory_ms`, the expected error is

        error + (blank - error) x ((T + n / m x period / 2) / memory + newcomers' time without an answer / (n x turn))

    with the turn of the dearest point, since it is the turn after this one that makes good what was read in haste.

    m is as many as are predicted to be read in what is left of the budget, and before the next frame comes: what took
    longer would cost that frame. `margin` covers what comes after the network (fusing the estimates).
    Where not even one face fits, one is read all the same, at the cheapest point, so that nobody waits for ever on a
    machine that is too slow.

    A prediction that holds 399 times of 400 leaves much of the budget unused nearly always, so after each batch, of at most
    `batches` a frame, what is left is decided on again: by then it is known how fast the machine is in this very frame.
    With `weigh` a further batch is run only where it is worth more than what it costs those who were read before it, since all
    that a frame's batches gave is shown when the last is done (`_pays`).
    """

    period_ms: float = 40.0
    memory_ms: float = 3000.0
    margin: float = 1.1
    batches: int = 3
    weigh: bool = True

    def __post_init__(self) -> None:
        if not (1 <= self.margin < 100 and 1 <= self.batches <= 100):
            raise ValueError(f"margin and batches must be at least 1, got {self.margin} and {self.batches}")
        if not (0 < self.period_ms < 1e6 and 0 < self.memory_ms < 1e9):
            raise ValueError(f"period and memory must be positive, got {self.period_ms} and {self.memory_ms} ms")
        self._last: OperatingPoint | None = None
        self._stay = 1.0  # what the last frame's point has its error multiplied by: see LeastErrorThatStays

    def __call__(self, load: Load, latency: LatencyModel) -> Decision:
        decision = self._least(load, latency, latency.level(load.probe), latency.first_tail)
        if decision is None:
            cheapest = latency.profile.front[0]
            decision = Decision(cheapest, 1, latency.predict_ms(cheapest, 1, load.probe), load)
        self._last = decision.point
        return decision

    def again(self, load: Load, latency: LatencyModel) -> Decision | None:
        if load.faces < 1 or load.batches >= self.batches:
            return None
        decision = self._least(load, latency, latency.level_now, latency.further_tail)
        if (
            decision
            and self.weigh
            and not self._pays(load, decision.serve, decision.predicted_ms / latency.further_tail)
        ):
            return None
        return decision

    def _pays(self, load: Load, serve: int, took_ms: float) -> bool:
        """Whether reading `serve` more of a frame's n people is worth it for the m who were read, and wait `took_ms` for it.

        Both sides in people x milliseconds without an answer, where an answer that is t older counts t / memory: turns come
        every n / (m + serve) frames instead of n / m, and newcomers need not wait for the next frame; those who were read go
        on with an answer of n / m frames ago, or with none.
        """
        read, period_ms = max(load.read, 1), self.period_ms
        everybody = load.faces + load.read
        turn_ms = everybody / read * period_ms
        sooner = everybody * period_ms * (turn_ms - everybody / (read + serve) * period_ms) / 2 / self.memory_ms
        gain = sooner + min(serve, load.new) * max(period_ms - took_ms, 0.0)
        return gain > took_ms * (load.read_new + (load.read - load.read_new) * min(turn_ms / self.memory_ms, 1.0))

    def _least(self, load: Load, latency: LatencyModel, level: float, tail: float) -> Decision | None:
        """The choice where a batch takes the profile's time x `level` and may take `tail` times that; None where nothing fits.

        Called between a frame's alignment and its network, with caches that hold neither its code nor its data: lean, in one
        piece, and it looks at as few points as it can."""
        biases, last, stay = latency.biases, self._last, self._stay
        faces, new, blank = load.faces, load.new, latency.profile.blank_error
        period_ms, memory_ms = self.period_ms, self.memory_ms
        room_ms = min(load.left_ms, period_ms - load.taken_ms) / self.margin
        freshest = min(period_ms / 2 / memory_ms, 1.0)
        least, best, turn = float("inf"), None, 0.0
        for point, error, times in latency.profile.choices:
            if (error + (blank - error) * freshest) * stay >= least:
                break  # nor can those that are cheaper, and err more
            pace = level * biases.get(point, 1.0)
            most_ms = room_ms / (pace * tail)
            if faces < len(times):
                served = bisect_right(times, most_ms, 1, faces + 1) - 1
                took_ms = times[served] * pace
            else:
                served = latency.profile.most_faces(point, most_ms, faces)
                took_ms = latency.profile.median_ms(point, served) * pace
            turn = turn or faces / max(served, 1)
            if not served:
                continue
            lost = (took_ms + faces / served * period_ms / 2) / memory_ms
            if new:
                waiting = max(new - served, 0)
                unseen_ms = new * took_ms + waiting * (1 + waiting / served) / 2 * period_ms
                lost += unseen_ms / (faces * turn * period_ms)
            expected = error + (blank - error) * min(lost, 1.0)
            if point == last:
                expected *= stay
            if expected < least:
                least, best = expected, (point, served, took_ms * tail)
        return Decision(*best, load) if best else None

    def to_json(self) -> dict[str, Any]:
        """In the words of schema 4, in which a frame's batches are "runs"."""
        numbers = asdict(self)
        return {"name": "least-error", "runs": numbers.pop("batches"), **numbers}


@dataclass
class LeastErrorThatStays(LeastError):
    """The rule as it was, to replay the logs of then: the last frame's point stays unless another is better by the share
    `keep`. Without it the error on screen is equal or lower in most worlds (docs/reference/scheduler.md)."""

    keep: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.keep < 1:
            raise ValueError(f"keep must be from 0 to 1, got {self.keep}")
        self._stay = 1 - self.keep


@dataclass
class DeepestThatFits:
    """The dearest point worth choosing (Profile.front) whose predicted latency for all faces fits the budget that is left.

    A dearer point than the frame's before must fit with `headroom` to spare. Where not even the cheapest fits for all, as
    many are served as fit, and at least one.
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
            predicted = latency.predict_ms(front[rank], load.faces, load.probe)
            room = self.margin * (1 + self.headroom if rank > self._rank >= 0 else 1)
            if predicted * room <= load.left_ms:
                self._rank = rank
                return Decision(front[rank], load.faces, predicted, load)
        self._rank = 0
        serve = max(latency.most_faces(front[0], load.left_ms / self.margin, load.faces, load.probe), 1)
        return Decision(front[0], serve, latency.predict_ms(front[0], serve, load.probe), load)

    def again(self, load: Load, latency: LatencyModel) -> None:
        return None

    def to_json(self) -> dict[str, Any]:
        return {"name": "deepest-that-fits", **asdict(self)}


def policy_from_json(data: Mapping[str, Any]) -> Policy:
    """The policy that a log's first record names. Raises ValueError for one that this version does not know."""
    name = data.get("name")
    if name == "fixed":
        return Fixed(OperatingPoint.from_json(data))
    if name == "deepest-that-fits":
        return DeepestThatFits(margin=float(data["margin"]), headroom=float(data["headroom"]))
    if name == "least-error":
        numbers = {key: float(data[key]) for key in ("period_ms", "memory_ms", "margin")}
        batches, weigh = int(data.get("runs", 1)), bool(data.get("weigh", False))
        if "keep" in data:
            return LeastErrorThatStays(**numbers, batches=batches, weigh=weigh, keep=float(data["keep"]))
        return LeastError(**numbers, batches=batches, weigh=weigh)
    raise ValueError(f"unknown policy {name!r}; known: least-error, deepest-that-fits, fixed")


def policy_from_text(text: str, latency_points: tuple[OperatingPoint, ...]) -> Policy:
    """A policy as people name it: `auto`, or an exit's name or block number (at its largest size or NAME@SIZE, by ONNX
    Runtime or ENGINE/NAME)."""
    if text in ("auto", "least-error"):
        return LeastError()
    if text == "deepest-that-fits":
        return DeepestThatFits()
    engine, _, name = text.rpartition("/")
    exit_name, _, size = name.partition("@")
    fits = [
        p
        for p in latency_points
        if exit_name in (p.exit, p.exit.rpartition("_")[2].lstrip("0"))
        and (not size or size == str(p.size))
        and engine == p.engine
    ]
    if not fits:
        raise ValueError(
            f"unknown policy {text!r}; known: auto, deepest-that-fits, {', '.join(map(str, latency_points))}"
        )
    return Fixed(max(fits, key=lambda p: p.size))
