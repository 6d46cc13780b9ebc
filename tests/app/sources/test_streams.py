"""Real streams on the loopback, over HTTP, TCP and UDP: they go on, break off, fall silent, come back, and come too fast."""

from __future__ import annotations

import math
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise

import numpy as np
import pytest

from app.domain import Frame, Image, SourceEvent, SourceState
from app.errors import SourceError, SourceStalled
from app.sources import streams
from app.sources.live import LiveSource
from app.sources.open import Watching, open_source
from app.sources.streams import BEHIND, MOST_WAITING, Stream, StreamDevice, Waiting, public
from tests.support.streams import (
    HOST,
    JPEG_TYPE,
    Server,
    free_port,
    motion_jpeg,
    send_udp,
    served,
    transport_stream,
)
from tests.support.videos import SIZE, combing, error, picture, woven

LONG = 5000  # pictures: more than any test takes


@lru_cache(maxsize=1)
def patterns() -> np.ndarray:
    """The first pictures, until they repeat; (n, h, w) grey."""
    return np.stack([picture(i).mean(axis=2) for i in range(SIZE[0])]).astype(np.float32)


def which(image: Image) -> int:
    """The number of the picture that this one was."""
    return int(np.abs(patterns() - image.mean(axis=2)).mean(axis=(1, 2)).argmin())


def first(address: str, count: int) -> list[Frame]:
    source = open_source(address)
    assert source.live and source.frame_count is None
    try:
        return list(islice(source, count))
    finally:
        source.close()


def test_what_may_be_shown_of_an_address():
    assert public("rtsp://me:se@cret@host:554/a?token=x") == "rtsp://host:554/a"


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        ("video/mp2t", lambda: transport_stream(LONG)),
        (JPEG_TYPE, lambda: motion_jpeg(LONG)),
        ("", lambda: transport_stream(LONG)),
    ],
    ids=["mpeg-ts over http", "motion jpeg over http", "mpeg-ts over tcp"],
)
def test_a_stream_is_read_as_it_comes(kind, stream):
    with served(Server(stream, kind)) as server:
        frames = first(server.address(), 20)
    assert [f.image.shape for f in frames] == [(120, 160, 3)] * 20
    assert all(b.id > a.id and b.born_s >= a.born_s for a, b in pairwise(frames))
    shown = [which(f.image) for f in frames]
    assert all(b > a for a, b in pairwise(shown)), shown


def test_udp_is_read_without_anybody_being_asked():
    port, stop = free_port(), threading.Event()
    thread = threading.Thread(target=send_udp, args=(port, transport_stream(LONG), stop), daemon=True)
    thread.start()
    try:
        assert [f.image.shape for f in first(f"udp://{HOST}:{port}", 10)] == [(120, 160, 3)] * 10
    finally:
        stop.set()
        thread.join()


@contextmanager
def sent_by_ffmpeg(*how: str, given: Sequence[str] = ()) -> Iterator[None]:
    """H.264, 160x120, in real time, until the block ends; `given`: a stream to pass on instead."""
    ffmpeg = shutil.which("ffmpeg") or pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    made = ("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=25", "-c:v", "libx264", "-g", "10", "-tune",
            "zerolatency", "-pix_fmt", "yuv420p")  # fmt: skip
    sender = subprocess.Popen([ffmpeg, "-v", "error", *(given or made), *how], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def first_of_ffmpeg(address: str) -> None:
    """It sends a moment after it was started."""
    source = open_source(address, watching=Watching(wait_for_it=True))
    try:
        assert [f.image.shape for f in islice(source, 10)] == [(120, 160, 3)] * 10
    finally:
        source.close()


def test_rtmp_is_read():
    address = f"rtmp://{HOST}:{free_port()}/live/x"
    with sent_by_ffmpeg("-f", "flv", "-listen", "1", address):
        first_of_ffmpeg(address)


def test_rtp_is_read():
    address = f"rtp://{HOST}:{free_port()}"
    with sent_by_ffmpeg("-f", "rtp_mpegts", address):
        first_of_ffmpeg(address)


def test_srt_is_read_where_it_can_be_and_else_as_the_message_says():
    """PyAV's wheels have no SRT."""
    srt, udp = f"srt://{HOST}:{free_port()}", f"udp://{HOST}:{free_port()}"
    with pytest.raises(SourceError) as refused:  # nobody is there
        open_source(srt)
    said = str(refused.value)
    if "pass it on" not in said:
        with sent_by_ffmpeg("-f", "mpegts", f"{srt}?mode=listener"):
            first_of_ffmpeg(srt)
        return
    assert "ffmpeg -i srt://ADDRESS -c copy -f mpegts udp://" in said
    passed_on = ("-i", srt, "-c", "copy")
    with sent_by_ffmpeg("-f", "mpegts", f"{srt}?mode=listener"), sent_by_ffmpeg("-f", "mpegts", udp, given=passed_on):
        first_of_ffmpeg(udp)


def test_a_stream_is_shown_as_a_file_is():
    """Square pixels, and one picture of two fields: the same code."""
    fields = {"preset": "ultrafast", "tune": "zerolatency", "g": "5", "x264-params": "tff=1:interlaced=1"}
    with served(Server(lambda: transport_stream(LONG, draw=woven, aspect=Fraction(2), options=fields))) as server:
        images = [f.image for f in first(server.address(), 8)]
    assert {image.shape for image in images} == {(120, 320, 3)}
    assert max(combing(image) for image in images) < 0.5 * combing(woven(3))


def test_pictures_come_in_order_where_they_are_coded_out_of_order():
    stream = lambda: transport_stream(LONG, options={"preset": "veryfast", "bf": "3", "g": "25"})  # noqa: E731
    with served(Server(stream)) as server:
        feed = StreamDevice(server.address()).open()
        shown = [which(image) for image in taken(feed, 30)]
        feed.close()
    assert all(b > a for a, b in pairwise(shown)), shown


def taken(feed: Stream, count: int) -> Iterator:
    while count:
        alive, image = feed.read()
        assert alive
        if image is not None:
            count -= 1
            yield image


class Watched:
    """A source that is read on a thread; each frame and event can be waited for."""

    def __init__(self, source: LiveSource) -> None:
        self.source, self.frames, self.events, self.error = source, 0, list[SourceEvent](), None
        self._changed = threading.Condition()
        source.on_event = self._note
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _note(self, event: SourceEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for _ in self.source:
                with self._changed:
                    self.frames += 1
                    self._changed.notify_all()
        except SourceError as error:
            self.error = error

    def kinds(self) -> list[str]:
        return [str(e.kind) for e in self.events if e.kind in ("lost", "back")]

    def until(self, told) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: told(self), 60), self.events

    def end(self) -> None:
        self.source.close()
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_stream_that_breaks_off_is_opened_again():
    with served(Server(lambda: transport_stream(LONG))) as server:
        watched = Watched(open_source(server.address("me:secret@", "live?token=hidden")))
        watched.until(lambda w: w.frames >= 5)
        server.hang_up()
        watched.until(lambda w: w.kinds() == ["lost", "back"])
        now = watched.frames
        watched.until(lambda w: w.frames > now)
        watched.end()
    lost = watched.events[[str(e.kind) for e in watched.events].index("lost")]
    assert lost.text == f"http://{HOST}:{server.port}/live sends no picture any more. Check its cable or network."
    assert watched.error is None and watched.source.name == f"http://{HOST}:{server.port}/live"


def test_a_stream_that_falls_silent_is_noticed(monkeypatch):
    monkeypatch.setattr(streams, "STALL_S", 2.0)
    with served(Server(lambda: transport_stream(LONG))) as server:
        watched = Watched(open_source(server.address()))
        watched.until(lambda w: w.frames >= 5)
        server.silent.set()
        watched.until(lambda w: w.source.status().state is SourceState.LOST)
        server.silent.clear()
        now = watched.frames
        watched.until(lambda w: w.frames > now and w.kinds()[-1] == "back")
        watched.end()


def test_a_server_that_answers_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(streams, "STALL_S", 0.5)
    with served(Server(lambda: iter(()), kind="")) as server, pytest.raises(SourceError, match="gives no picture"):
        server.pace_s = 1000
        open_source(f"http://me:secret@{HOST}:{server.port}/live")


@pytest.mark.parametrize(
    ("status", "reason"), [("401 Unauthorized", "401 Unauthorized"), ("404 Not Found", "404 Not Found")]
)
def test_why_a_stream_cannot_be_had_is_said_and_secrets_are_not(status, reason, capfd):
    with served(Server(lambda: iter(()), status=status)) as server:
        with pytest.raises(SourceError, match=f"{HOST}:{server.port}/live gives no picture.*{reason}") as caught:
            open_source(server.address("me:secret@", "live?token=hidden"))
        assert server.requests
    cause: BaseException | None = caught.value
    while cause:
        assert "secret" not in str(cause) and "hidden" not in str(cause)
        cause = cause.__cause__
    assert capfd.readouterr() == ("", "")


def test_nobody_listens():
    for scheme in ("rtsp", "rtmp", "http", "tcp"):
        with pytest.raises(SourceError, match=f"{scheme}://{HOST}:{free_port()}".rpartition(":")[0]) as caught:
            open_source(f"{scheme}://me:secret@{HOST}:{free_port()}/live?token=hidden")
        assert "secret" not in str(caught.value) and "hidden" not in str(caught.value)


def test_reconnecting_has_an_end_where_it_is_asked_for():
    with served(Server(lambda: transport_stream(200))) as server:
        source = open_source(server.address(), watching=Watching(reconnect_s=0))
        with pytest.raises(SourceStalled, match="sends no picture any more"):
            assert list(source)


class Packet:
    def __init__(self, name: int, is_keyframe: bool = False) -> None:
        self.name, self.is_keyframe = name, is_keyframe


def put(waiting: Waiting, *packets: Packet) -> None:
    for packet in packets:
        assert waiting.put(packet)


def test_a_key_frame_throws_out_what_is_old():
    waiting = Waiting()
    put(waiting, Packet(0, True), *(Packet(i) for i in range(1, BEHIND)), Packet(BEHIND, True), Packet(BEHIND + 1))
    assert waiting.skipped == BEHIND
    assert [waiting.take(0).name for _ in range(2)] == [BEHIND, BEHIND + 1] and waiting.take(0) is None
    put(waiting, Packet(0), Packet(1, True))
    assert len(waiting) == 2, "two packets are not too much"


def test_what_waits_is_bounded_where_no_key_frame_comes():
    waiting = Waiting()
    put(waiting, Packet(0, True), *(Packet(i) for i in range(1, MOST_WAITING + 10)))
    assert len(waiting) == 0 and waiting.skipped == MOST_WAITING + 10
    put(waiting, Packet(1), Packet(2, True), Packet(3))
    assert [waiting.take(0).name, waiting.take(0).name] == [2, 3]
    waiting.close()
    assert waiting.take(math.inf) is None and not waiting.put(Packet(4))


def test_old_pictures_are_counted_and_not_given():
    """All of a stream has come before the first read: the last pictures are given, the others are skipped."""
    with served(Server(lambda: transport_stream(100))) as server:
        server.pace_s = 0.0
        feed = StreamDevice(server.address()).open()
        feed._take()  # what its thread does
        feed._taker = threading.current_thread()
        given = []
        with pytest.raises(SourceStalled):
            while True:
                given.append(feed.read()[1])
    assert 1 <= len(given) <= 2 * BEHIND and 20 < len(given) + feed.skipped <= 100, "but for those that opening took"
    assert error(given[-1], 99) < 12


def test_skipped_pictures_have_ids_and_are_told(monkeypatch):
    with served(Server(lambda: transport_stream(LONG))) as server:
        source = open_source(server.address())
        events = list[SourceEvent]()
        source.on_event = events.append
        frames = iter(source)
        before = next(frames)
        source._reader.skipped += 3
        monkeypatch.setattr(Stream, "skipped", property(lambda self: source._reader.skipped))
        after = next(frames)
        frames.close()
    skipped = [e.frame_id for e in events if e.kind == "skipped"]
    assert len(skipped) >= 3 and after.id == before.id + len(skipped) + 1
