"""A stream from a real RTSP server that dies, comes back with another size, and hangs. Where no server is installed the
tests are skipped; what they need is named in rtsp_server.py."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from app.domain import Frame, SourceEvent, SourceEventKind, SourceState
from app.errors import SourceError
from app.sources.open import open_source
from app.sources.source import Source
from tests.support.paths import ROOT

SERVER = ROOT / "tests" / "support" / "rtsp_server.py"
NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def python_with_gstreamer() -> str | None:
    """GStreamer's binding belongs to the system's Python, not to ours."""
    for python in filter(None, (shutil.which("python3", path="/usr/bin"), sys.executable)):
        if subprocess.run([python, "-c", NEEDED], capture_output=True, check=False).returncode == 0:
            return python
    return None


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    python, processes = python_with_gstreamer(), list[subprocess.Popen[str]]()
    if python is None:
        pytest.skip("no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good")

    def serve(port: int = 0, size: tuple[int, int] = (320, 240)) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [python, str(SERVER), str(port), *map(str, size)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        bound = process.stdout.readline().strip()
        assert bound, process.stderr.read()
        return process, int(bound)

    yield serve
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


class Watched:
    """Reads a source on a thread; keeps the newest frames and all events."""

    def __init__(self, source: Source) -> None:
        self.source, self.events, self.error = source, Queue[SourceEvent](), None
        self.frames = Queue[Frame]()
        source.on_event = self.events.put
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for frame in self.source:
                self.frames.put(frame)
        except SourceError as error:
            self.error = error

    def next_event(self, kind: SourceEventKind) -> SourceEvent:
        while (event := self.events.get(timeout=60)).kind is not kind:
            assert event.kind is SourceEventKind.BROKEN
        return event

    def newest(self, frames: int = 5) -> Frame:
        """After what came so far, the last of so many new frames."""
        while not self.frames.empty():
            self.frames.get()
        return [self.frames.get(timeout=60) for _ in range(frames)][-1]


def test_a_stream_survives_its_server(serve):
    process, port = serve()
    watched = Watched(open_source(f"rtsp://127.0.0.1:{port}/camera"))
    first = watched.newest()
    assert first.image.shape == (240, 320, 3) and first.image.std() > 20  # a picture, not grey

    process.kill()  # without a goodbye
    process.communicate()
    lost = watched.next_event(SourceEventKind.LOST)
    assert "sends no picture any more" in lost.text and watched.source.status().state is SourceState.LOST
    serve(port, (640, 480))
    back = watched.next_event(SourceEventKind.BACK)
    second = watched.newest()
    assert second.image.shape == (480, 640, 3) and second.id > first.id and second.time_s > first.time_s
    assert back.tries >= 1 and watched.source.status().state is SourceState.OK

    watched.source.close()
    watched.thread.join(30)
    assert not watched.thread.is_alive() and watched.error is None


def test_a_server_that_freezes_is_noticed_and_waited_for(serve):
    process, port = serve()
    watched = Watched(open_source(f"rtsp://127.0.0.1:{port}/camera"))
    watched.newest()
    process.send_signal(signal.SIGSTOP)  # connected, but silent
    watched.next_event(SourceEventKind.LOST)
    threads = threading.active_count()
    process.send_signal(signal.SIGCONT)
    watched.next_event(SourceEventKind.BACK)
    assert watched.newest().image.shape == (240, 320, 3) and threading.active_count() <= threads + 2
    watched.source.close()
    watched.thread.join(30)
    assert not watched.thread.is_alive()


def test_an_address_with_no_stream_is_an_error_at_the_start(serve):
    _, port = serve()
    with pytest.raises(SourceError, match=f"rtsp://127.0.0.1:{port}/nothing gives no picture"):
        open_source(f"rtsp://me:secret@127.0.0.1:{port}/nothing?token=x")
