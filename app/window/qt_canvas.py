"""Qt's side of painting: a Canvas at the window's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from PyQt5.QtCore import QPointF, QRectF, Qt
from PyQt5.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QPainter, QPen, QPolygonF

from app.domain import Box
from app.overlay.image_canvas import Colour, Point, font_path

# What belongs to the letter before it: joins emoji, chooses their form, or frames them.
JOINERS = "\u200d\ufe0e\ufe0f\u20e3"


class QtCanvas:
    """One for the window's life: it keeps the fonts that it has measured."""

    def __init__(self) -> None:
        self.width = self.height = 0.0
        self._painter: QPainter | None = None
        self._fonts: dict[tuple[int, bool], tuple[QFont, QFontMetricsF]] = {}
        self._widths: dict[tuple[str, int, bool], float] = {}
        self._families = {}
        for bold in (False, True):
            known = QFontDatabase.addApplicationFont(str(font_path(bold)))
            families = QFontDatabase.applicationFontFamilies(known) if known >= 0 else []
            self._families[bold] = families[0] if families else "sans-serif"

    def on(self, painter: QPainter, width: float, height: float) -> QtCanvas:
        self._painter, self.width, self.height = painter, width, height
        return self

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour, opacity: float = 1.0) -> None:
        self._painter.setPen(QPen(_colour(colour, opacity), thickness))
        self._painter.setBrush(Qt.NoBrush)
        self._painter.drawRoundedRect(QRectF(*box), radius, radius)

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None:
        if not radius:  # hundreds of these make the chart
            self._painter.fillRect(QRectF(*box), _colour(colour, opacity))
            return
        self._painter.setPen(Qt.NoPen)
        self._painter.setBrush(_colour(colour, opacity))
        self._painter.drawRoundedRect(QRectF(*box), radius, radius)

    def line(self, points: Sequence[Point], thickness: float, colour: Colour, opacity: float = 1.0) -> None:
        self._painter.setPen(QPen(_colour(colour, opacity), thickness, Qt.SolidLine, Qt.RoundCap, Qt.RoundJoin))
        self._painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))

    def text(
        self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool, opacity: float = 1.0
    ) -> None:
        self._painter.setPen(_colour(colour, opacity))
        self._painter.setFont(self._font(size, bold)[0])
        self._painter.drawText(QPointF(x, baseline), text)

    def measure(self, text: str, size: float, bold: bool) -> float:
        key = text, max(1, round(size)), bold
        if key not in self._widths:
            if len(self._widths) >= 4000:
                self._widths.clear()
            self._widths[key] = self._font(size, bold)[1].horizontalAdvance(text)
        return self._widths[key]

    def drawable(self, text: str) -> str:
        """The text without characters that no font here has (emoji, often): they would show as boxes."""
        metrics, kept, on = self._font(20.0, False)[1], list[str](), False
        for letter in text:
            if letter not in JOINERS:
                on = letter.isspace() or metrics.inFontUcs4(ord(letter))
            if on:
                kept.append(letter)
        return "".join(kept)

    def _font(self, size: float, bold: bool) -> tuple[QFont, QFontMetricsF]:
        key = max(1, round(size)), bold
        if key not in self._fonts:
            font = QFont(self._families[bold])
            font.setPixelSize(key[0])
            font.setWeight(QFont.Bold if bold else QFont.DemiBold)
            font.setHintingPreference(QFont.PreferNoHinting)
            self._fonts[key] = font, QFontMetricsF(font)
        return self._fonts[key]


@lru_cache(maxsize=256)
def _colour(colour: Colour, opacity: float) -> QColor:
    return QColor(*colour, round(255 * min(1.0, max(0.0, opacity))))
