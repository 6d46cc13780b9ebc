"""A run that opens its window first: everything else is opened and loaded on a thread of its own.

    window -> first picture -> source, front end (boxes) -> network, its latency (words)

What the window asks for is answered at every stage.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from app.controls import Controls
from app.domain import SourceStatus
from app.errors import AppError, InternalError
from app.outputs.systemd import Heart
from app.window.wall import Tile, Wall
from app.window.watched import Picture, Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.compose import App, Begun
    from app.domain import Result
    from app.settings import Settings

# Shares of the loading that are over when source and front end are open, and when the network is loaded; then it is measured.
OPEN, LOADED = 0.15, 0.5
PATIENCE_S = 20.0  # with what cannot be interrupted: a server that does not answer, a GPU


class Stopped(Exception):
    """The user has ended it before it was loaded."""


class Opening:
    """From settings to a run, seen from the window. Any thread may ask."""

    def __init__(self, settings: Settings, on_begun: Callable[[Begun], None], on_loaded: Callable[[App], None]) -> None:
        """`on_begun` is called before the pipeline starts, `on_loaded` when it is complete; both on this one's thread."""
        self._settings, self._on_begun, self._on_loaded = settings, on_begun, on_loaded
        self.controls = Controls(settings.frame_budget_ms)
        self.begun: Begun | None = None
        self.app: App | None = None
        self._heart: Heart | None = None
        self._wall: Wall | None = None
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._share, self._loaded, self._last = 0.0, False, 0
        self._thread = threading.Thread(target=self._run, name="opening", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watched(self) -> Watched:
        return Watched(
            latest=self.latest, finished=self.finished, stop=self.stop, status=self.status, progress=self.progress,
            camera=self.camera, picture=self.picture, wall=lambda: self._wall, controls=self.controls,
        )  # fmt: skip

    def latest(self) -> Result | None:
        if self.begun is None:
            return None
        pipeline = self.begun.pipeline
        if self._heart is None:
            self._heart = Heart(pipeline.totals, pipeline.latest, self.begun.source)
        self._heart.beat()  # by the window's own polling: it shows that the window lives, too
        return self._wall.latest() if self._wall else pipeline.latest()

    def status(self) -> SourceStatus:
        if self._wall:
            return self._wall.status()
        return self.begun.source.status() if self.begun else SourceStatus()

    def progress(self) -> float | None:
        """Share of the loading that is over; None when all is there."""
        return None if self.app else self._share

    def finished(self) -> bool:
        """Whether the window may close: something failed, or the source has ended."""
        return self._failure is not None or (self.begun is not None and self.begun.pipeline.finished())

    def camera(self) -> bool:
        return self.begun is not None and self.begun.source.camera

    def picture(self) -> Picture | None:
        result = self.begun.pipeline.latest() if self.begun else None
        if result is None or not self.camera():
            return None
        height, width = result.frame.image.shape[:2]
        return Picture(width, height, self.begun.source.fps, self._settings.camera_exposure_ms)

    def stop(self) -> None:
        self._stopping.set()
        if self.begun:
            self.begun.pipeline.stop()

    @property
    def failure(self) -> Exception | None:
        """What has ended it, if that was not the user."""
        return self._failure or (self.begun.pipeline.failure if self.begun else None)

    def close(self) -> None:
        """Waits for the loading to end, then completes everything."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
        if self.begun:
            self.begun.pipeline.close()

    def _run(self) -> None:
        try:
            from app.compose import begin, load

            begun = begin(self._settings, self.controls)
            self._wall = _wall_of(begun)
            self.begun, self._share = begun, OPEN
            self._on_begun(begun)
            self._step(0, 1)
            begun.pipeline.start()
            app = load(begun, self._step)
            self._on_loaded(app)
            self.app = app
            if self._stopping.is_set():
                begun.pipeline.stop()
        except Stopped:
            pass
        except AppError as error:
            self._failure = error
        except Exception as error:
            self._failure = InternalError(
                f"{type(error).__name__}: {error}. This is a fault of the program; please report it"
            )
            self._failure.__cause__ = error
        finally:
            if self.begun and not self.app:
                self.begun.pipeline.stop()
                self.begun.opened.close()

    def _step(self, done: int, total: int) -> None:
        """Called with two series of steps: points that are loaded, then measured."""
        if self._stopping.is_set():
            raise Stopped
        self._loaded = self._loaded or done < self._last
        self._last = done
        before, after = (LOADED, 1.0) if self._loaded else (OPEN, LOADED)
        self._share = before + (after - before) * done / max(total, 1)


def _wall_of(begun: Begun) -> Wall | None:
    """The wall of several cameras."""
    cameras = begun.pipeline.cameras
    if len(cameras) == 1:
        return None
    return Wall([Tile(camera.name, partial(getattr, camera, "latest"), camera.status) for camera in cameras])
