"""Makes the pictures of the window in README and docs from one run over the demo crowd: `make pictures`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PyQt5.QtCore import QTimer
from PyQt5.QtWidgets import QApplication

from app.compose import build
from app.overlay.style import CONTRAST, STANDARD
from app.overlay.texts import load_texts
from app.settings import Settings
from app.sources.demo import DemoSource, default_crowd
from app.window.show import show
from app.window.watched import Look, Watched

FOLDER, SIZE = Path(__file__).parent, (1280, 720)
# Name, second of the demo, and how the window is changed for it.
SHOTS: list[tuple[str, float, dict[str, Any]]] = [
    ("window-cards", 8.5, {}),
    ("window", 14.0, {}),
    ("window-panel", 14.2, {"panel": True}),
    ("window-contrast", 14.4, {"theme": CONTRAST, "say": load_texts("fi")}),
]


def crowd(time_s: float) -> int:
    """Three people for cards, then many."""
    return min(default_crowd(time_s), 3 if time_s < 9 else 12)


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QApplication(["pictures"])
    app, left = build(Settings(), sources=[DemoSource(crowd)]), list(SHOTS)

    def shoot() -> None:
        result, window = app.pipeline.latest(), application.topLevelWidgets()[0]
        if not left or result is None:
            return
        window.resize(*SIZE)  # the offscreen screen is smaller
        if result.frame.time_s < left[0][1]:
            return
        name, _, changes = left.pop(0)
        plain = {"panel": False, "theme": STANDARD, "say": load_texts("en")}
        for key, value in {**plain, **changes}.items():
            setattr(window, key, value)
        if not window.grab().toImage().save(str(FOLDER / f"{name}.jpg"), quality=88):
            raise OSError(f"{FOLDER / name}.jpg cannot be written")

    app.pipeline.start()
    watched = Watched(
        latest=app.pipeline.latest,
        finished=lambda: not left or app.pipeline.finished(),
        status=app.source.status,
        controls=app.pipeline.controls,
    )
    timer = QTimer(interval=20)
    timer.timeout.connect(shoot)
    timer.start()
    try:
        show(watched, title="Elastic Faces", look=Look(notice=None, language="en"))
    finally:
        app.pipeline.close()


if __name__ == "__main__":
    main()
