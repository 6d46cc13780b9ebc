"""What the window is told of a run, and how it starts: values and questions, no Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from app.domain import Result, SourceStatus
from app.window.wall import Wall


class Controls(Protocol):
    """What can be changed while a run goes on."""

    budget_ms: float
    exit: str

    @property
    def exits(self) -> tuple[str, ...]:
        """What `exit` may be; nothing while the network is loaded."""
        ...


class Picture(NamedTuple):
    """What a camera really gives."""

    width: int
    height: int
    fps: float | None
    exposure_ms: float | None  # None: by itself


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A run, seen from the window, which asks on its own thread and never waits for an answer."""

    latest: Callable[[], Result | None]
    finished: Callable[[], bool] = lambda: False
    stop: Callable[[], None] = lambda: None
    status: Callable[[], SourceStatus] = SourceStatus
    progress: Callable[[], float | None] = lambda: None  # share of the loading that is over, None when all is there
    camera: Callable[[], bool] = lambda: False  # whether people see themselves
    picture: Callable[[], Picture | None] = lambda: None  # None where it is not a camera, or gave none yet
    wall: Callable[[], Wall | None] = lambda: None  # of several cameras, once they are open
    controls: Controls | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the window starts; each but the notice has a key."""

    fullscreen: bool = False
    screen: str | None = None  # a number from 1, or a name; None: the system's first
    rotate: int = 0  # degrees clockwise: 0, 90, 180 or 270
    mirrored: bool | None = False  # None: as a camera is
    fill: bool = False
    panel: bool = False
    high_contrast: bool = False
    language: str = "auto"
    labels: tuple[str, ...] = ("age", "expression")  # what is said of people; "gender", too
    notice: str | None = ""  # for visitors, along the lower border; None: the standing line
    pin: str | None = None  # what the operator types to open the menu and to use the keys
    keeps: bool = False  # whether the run writes anything about people
    sends: bool = False  # whether pictures of faces go to a server
