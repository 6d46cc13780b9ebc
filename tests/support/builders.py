"""Made results, statistics and canvases for tests."""

from __future__ import annotations

from app.domain import Box, Estimate, Stats
from app.overlay import style as overlay

STATS = Stats(
    fps=15, faces=1, served=1, exit="exit_13", input_size=96, budget_ms=66, left_ms=40, predicted_ms=3, measured_ms=2.5,
    frame_age_ms=30, misses=0, frames=1, dropped=0, provider="CPUExecutionProvider", why="",
)  # fmt: skip


def estimate(age: float) -> Estimate:
    return Estimate(age, age - 5, age + 5, "female", 0.9, "happy", 0.8, "exit_13")


def make_stats(**changes: object) -> Stats:
    values = {
        "fps": 29.9,
        "faces": 1,
        "served": 1,
        "exit": "b9",
        "input_size": 128,
        "budget_ms": 33.3,
        "left_ms": 14.2,
        "predicted_ms": 9.6,
        "measured_ms": 10.3,
        "frame_age_ms": 21.0,
        "misses": 3,
        "frames": 1500,
        "dropped": 17,
        "provider": "CPUExecutionProvider",
        "why": "b13 needs 16 ms of the 14 ms that are left, b9 fits",
    }
    return Stats(**(values | changes))


class Recorder:
    """A canvas that notes what is drawn; letters are half as wide as they are high."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.outlines: list[tuple[Box, float, overlay.Colour, float]] = []
        self.fills: list[Box] = []
        self.plates: list[Box] = []  # fills in the colour of plates
        self.lines: list[list[tuple[float, float]]] = []
        self.texts: list[str] = []
        self.extents: list[Box] = []

    def outline(self, box: Box, radius: float, thickness: float, colour: overlay.Colour, opacity: float = 1.0) -> None:
        self.outlines.append((box, thickness, colour, opacity))

    def fill(self, box: Box, radius: float, colour: overlay.Colour, opacity: float) -> None:
        self.fills.append(box)
        if colour in (overlay.STANDARD.plate, overlay.CONTRAST.plate):
            self.plates.append(box)

    def line(
        self, points: list[tuple[float, float]], thickness: float, colour: overlay.Colour, opacity: float = 1.0
    ) -> None:
        self.lines.append(points)

    def text(
        self,
        text: str,
        x: float,
        baseline: float,
        size: float,
        colour: overlay.Colour,
        bold: bool,
        opacity: float = 1.0,
    ) -> None:
        self.texts.append(text)
        self.extents.append(Box(x, baseline - size * 0.8, self.measure(text, size, bold), size))

    def measure(self, text: str, size: float, bold: bool) -> float:
        return 0.5 * size * len(text)


def is_inside(box: Box, width: float, height: float) -> bool:
    right, bottom = box.x + box.width, box.y + box.height
    return box.x >= -1e-6 and box.y >= -1e-6 and right <= width + 1e-6 and bottom <= height + 1e-6
