"""Servers of live pictures on the loopback: MPEG-TS and Motion JPEG over HTTP, MPEG-TS over TCP and UDP."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import av
import cv2

from app.domain import Image
from tests.support.videos import picture

RATE = 25
CODING = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
HOST = "127.0.0.1"


class _Pieces(io.RawIOBase):
    """Where a muxer writes to, and from where its bytes are taken."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def taken(self) -> bytes:
        out, self._bytes = bytes(self._bytes), bytearray()
        return out


def transport_stream(
    pictures: int,
    *,
    size: tuple[int, int] = (160, 120),
    draw: Callable[[int, tuple[int, int]], Image] = picture,
    aspect: Any = None,
    options: dict[str, str] | None = None,
) -> Iterator[bytes]:
    """A piece of MPEG-TS for each of the numbered pictures (videos.picture), with H.264 in it."""
    pieces = _Pieces()
    with av.open(pieces, "w", format="mpegts", options={"flush_packets": "1"}) as out:
        track = out.add_stream("libx264", rate=RATE, options=options or CODING)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        if aspect:
            track.codec_context.sample_aspect_ratio = aspect
        for i in range(pictures):
            frame = av.VideoFrame.from_ndarray(draw(i, size), format="bgr24").reformat(format="yuv420p")
            frame.pts = i
            out.mux(track.encode(frame))
            yield pieces.taken()
        out.mux(track.encode())
    yield pieces.taken()


def motion_jpeg(pictures: int, size: tuple[int, int] = (160, 120)) -> Iterator[bytes]:
    """A part of a multipart answer for each picture."""
    for i in range(pictures):
        jpeg = cv2.imencode(".jpg", picture(i, size))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        yield head.encode() + jpeg + b"\r\n"


TS_TYPE, JPEG_TYPE = "video/mp2t", "multipart/x-mixed-replace; boundary=frame"


class Server:
    """Gives each caller what `stream` makes, a piece at a time, as long as `may_send` says so."""

    def __init__(self, stream: Callable[[], Iterator[bytes]], kind: str = TS_TYPE, status: str = "200 OK") -> None:
        """`kind`: of HTTP's answer; "": bare TCP."""
        self._stream, self._kind, self._status = stream, kind, status
        self.requests: list[str] = []
        self.pace_s = 1 / RATE / 4
        self.silent = threading.Event()  # stays connected and sends nothing more
        self._ended, self._callers = threading.Event(), list[socket.socket]()
        self._listening = socket.create_server((HOST, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def address(self, before: str = "", after: str = "live") -> str:
        return f"{'http' if self._kind else 'tcp'}://{before}{HOST}:{self.port}/{after}"

    def hang_up(self) -> None:
        """On all who call now."""
        while self._callers:
            with suppress(OSError):
                self._callers.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended.set()
        self._listening.close()
        self.hang_up()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                self._callers.append(caller)
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with suppress(OSError), caller:
            if self._kind:
                self.requests.append(caller.recv(1 << 14).decode())
                answer = f"HTTP/1.1 {self._status}\r\nContent-Type: {self._kind}\r\nConnection: close\r\n\r\n"
                caller.sendall(answer.encode())
                if not self._status.startswith("200"):
                    return
            for piece in self._stream():
                if self._ended.wait(self.pace_s):
                    return
                if self.silent.is_set():
                    self._ended.wait()
                    return
                caller.sendall(piece)


@contextmanager
def served(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.close()


def send_udp(port: int, stream: Iterator[bytes], stop: threading.Event) -> None:
    """Each piece in datagrams of seven packets of 188 bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for piece in stream:
            for i in range(0, len(piece), 1316):
                out.sendto(piece[i : i + 1316], (HOST, port))
            if stop.wait(1 / RATE / 4):
                return


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
