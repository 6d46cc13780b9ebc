"""Pictures of every state of the window, to be looked at: with ELASTIC_FACES_PICTURES=FOLDER they are kept there.

The people are the demo crowd's; their estimates are made up.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.domain import Estimate, Frame, Image, Person, Result, SourceState, SourceStatus, Stats
from app.sources.demo import DemoCrowd
from app.window import display
from tests.support.fakes import FakeClock

os.environ["QT_QPA_PLATFORM"] = "offscreen"
NO_QT = display.why_no_display()
pytestmark = pytest.mark.skipif(NO_QT is not None, reason=NO_QT or "")
if NO_QT is None:
    from PyQt5.QtWidgets import QApplication

    from app.window import window
    from app.window.watched import Look, Watched

SIZES = [(1280, 720), (1920, 1080), (1080, 1920)]
EXPRESSIONS = ("happy", "neutral", "surprise", "sad", "angry", "fear", "disgust")
NOTICE = (
    "A computer estimates the age, gender and expression of faces in view. No picture is kept and nothing leaves "
    "this device. Questions: information desk."
)
LOST = SourceStatus(SourceState.LOST, 12.3, 3.6, "camera 0 was unplugged: check its cable")
# Name of a state: people, how the window starts, more (see `shot`).
STATES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "starting": (0, {}, {"result": False, "progress": 0.1}),
    "loading": (3, {}, {"progress": 0.6, "known": False}),
    "idle": (0, {}, {"wait_ms": 6000}),
    "one": (1, {"notice": None}, {}),
    "three": (3, {"labels": ("age", "expression", "gender")}, {}),
    "four-contrast": (4, {"high_contrast": True}, {}),
    "crowd": (12, {}, {}),
    "throng": (32, {}, {}),
    "panel": (12, {"panel": True}, {}),
    "lost": (3, {}, {"status": LOST}),
    "contrast": (4, {"panel": True, "high_contrast": True}, {}),
    "help": (2, {}, {"help": True}),
    "notice": (3, {"notice": NOTICE}, {}),
    "mirrored": (3, {"mirrored": True}, {}),
    "fill": (3, {"fill": True}, {}),
    "menu": (3, {}, {"menu": True}),
    "pin": (3, {"pin": "4711"}, {"menu": True}),
    "finnish": (4, {"panel": True, "language": "fi"}, {}),
    "finnish-help": (2, {"language": "fi"}, {"help": True}),
    "finnish-idle": (0, {"language": "fi"}, {"wait_ms": 6000}),
    "finnish-lost": (0, {"language": "fi"}, {"status": LOST}),
    "swedish": (4, {"panel": True, "language": "sv"}, {}),
    "swedish-help": (2, {"language": "sv"}, {"help": True}),
    "swedish-idle": (0, {"language": "sv"}, {"wait_ms": 6000}),
    "swedish-lost": (0, {"language": "sv"}, {"status": LOST}),
}


class Controls:
    budget_ms, exit, exits = 66.7, "auto", ("auto", "exit_07@96", "exit_10@96", "exit_13@96")


@pytest.fixture(scope="module")
def crowds() -> dict[int, DemoCrowd]:
    return {people: DemoCrowd(lambda _, n=people: n) for people in {state[0] for state in STATES.values()}}


@pytest.fixture(scope="module")
def folder() -> Path | None:
    """Where pictures are kept; they take longer to compress than to paint."""
    if not os.environ.get("ELASTIC_FACES_PICTURES"):
        return None
    path = Path(os.environ["ELASTIC_FACES_PICTURES"])
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def application() -> Any:
    return QApplication.instance() or QApplication(["tests"])


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    raised: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: raised.append(error))  # else PyQt5 aborts
    yield
    assert raised == []


def results(crowd: DemoCrowd, people: int, count: int) -> Iterator[Result]:
    """So many results of a run, one every 40 ms; the crowd stands still."""
    random = np.random.default_rng(7)
    picture, truth = crowd.picture(500), crowd.truth(500)
    ages, halves = random.uniform(16, 72, 40), random.uniform(4, 8, 40)
    seen = tuple(
        Person(
            i + 1, box,
            Estimate(ages[i], ages[i] - halves[i], ages[i] + halves[i], ("female", "male")[i % 2], 0.9, EXPRESSIONS[i % 7], 0.8, f"exit_{7 + i % 7:02d}")
            if i != 5 else None,
            True,
        )
        for i, box in truth
    )  # fmt: skip
    served = min(len(seen), 9)
    for number in range(count):
        network = 2.3 * served + random.gamma(2.0, 1.2)
        age = 18 + network + random.gamma(2.0, 3.5) + (28 if number % 61 == 40 else 0)
        stats = Stats(
            fps=24.9, faces=len(seen), served=served, exit="exit_09" if seen else "", input_size=96 if seen else 0,
            budget_ms=66.7, left_ms=24.2, predicted_ms=21.4, measured_ms=network if seen else 0.0, frame_age_ms=age if seen else 16.0,
            misses=4, frames=1480, dropped=2, provider="CPUExecutionProvider", why="",
        )  # fmt: skip
        yield Result(Frame(number, picture, number / 25, 0.0), seen, stats)


def shot(
    crowd: DemoCrowd, people: int, size: tuple[int, int], look: Look, *,
    result: bool = True, wait_ms: float = 500.0, status: SourceStatus | None = None, help: bool = False, progress: float | None = None, known: bool = True,
    menu: bool = False,
) -> Any:  # fmt: skip
    """The window, painted, as a QImage."""
    clock, newest = FakeClock(), list[Result]()
    widget = window.KioskWindow(
        Watched(
            latest=lambda: newest[-1] if newest else None, status=lambda: status or SourceStatus(), progress=lambda: progress,
            controls=Controls(),
        ),
        title="Elastic Faces", look=look, clock=clock,
    )  # fmt: skip
    widget.halt()
    widget.show()
    for one in results(crowd, people, 250 if look.panel else 3) if result else ():
        if not known:
            one = dataclasses.replace(one, people=tuple(dataclasses.replace(p, estimate=None) for p in one.people))
        newest[:] = [one]
        widget._take(one, clock())
        clock.pass_ms(40)
    widget.resize(*size)
    widget.settle()
    clock.pass_ms(wait_ms)
    if newest:
        newest[:] = [dataclasses.replace(newest[0])]
    widget.help = help
    if menu:
        widget._menu.open()
    widget.settle()
    image = widget.grab().toImage()
    widget.close()
    return image


def pixels(image: Any) -> Image:
    image = image.convertToFormat(4)  # QImage.Format_RGB32
    return np.frombuffer(image.constBits().asstring(image.byteCount()), np.uint8).reshape(image.height(), -1, 4)[
        ..., :3
    ]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_every_state_looks_like_itself(
    application: Any, crowds: dict[int, DemoCrowd], folder: Path | None, size: tuple[int, int]
) -> None:
    taken: dict[str, Image] = {}
    for state, (people, look, more) in STATES.items():
        image = shot(crowds[people], people, size, Look(**{"language": "en", **look}), **more)
        assert folder is None or image.save(str(folder / f"{state}-{size[0]}x{size[1]}.png"))
        taken[state] = pixels(image)
        assert taken[state].shape == (size[1], size[0], 3)
        assert taken[state].max() > 240, f"{state} has no light text"
    small = {state: cv2.resize(image, (192, 192), interpolation=cv2.INTER_AREA) for state, image in taken.items()}
    for state, image in small.items():
        for other, another in small.items():
            if state < other:
                assert np.abs(image.astype(int) - another).max() > 25, f"{state} looks like {other}"


def test_the_same_state_is_painted_the_same(application: Any, crowds: dict[int, DemoCrowd]) -> None:
    one, two = (pixels(shot(crowds[12], 12, (960, 540), Look(language="en", panel=True))) for _ in range(2))
    assert np.array_equal(one, two)
