"""Network streams, read by PyAV as files are: turned upright, with square pixels, deinterlaced, damage left out.

    network ──► _Packets, a thread ──► what waits ──► Stream.read decodes ──► live.py

The thread takes what comes off the network at once, so that what is late waits here, where it can be seen, and not in the
system's or the server's buffers. Where much waits, pictures are old: they are decoded without being given, or left out up to
the next key frame, and counted. Nothing else delays a picture: FFmpeg buffers nothing, and decodes on no thread of its own.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import TYPE_CHECKING

import av

from app.errors import SourceError, SourceStalled
from app.sources.captures import STALL_S
from app.sources.decoding import MOST_FAILED_READS, READ_FAULTS, Decoder, rate_of, reason, video_track

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.domain import Image

ADDRESS = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://", re.IGNORECASE)
# A playlist must not open this machine's files.
PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,rtsp,rtsps,rtmp,rtmps,rtmpt,ffrtmphttp,srt,crypto,data"
AT_ONCE = {
    "fflags": "nobuffer",  # what was read to see what it is, is not given
    "analyzeduration": "1000000",  # us; 5 s otherwise, for sound that never comes
    "rtsp_flags": "prefer_tcp",  # UDP only where TCP is refused: it loses packets
    "overrun_nonfatal": "1",  # of UDP
}
# With this many packets waiting, pictures are too old to be given; no more than the second number wait. A second has 25 to 60.
BEHIND, MOST_WAITING = 6, 256


class StreamDevice:
    """A stream by its address."""

    patience_s = STALL_S  # with damaged pictures; an end is known at once

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: Stream | None = None
        self.name = public(url)

    def open(self) -> Stream:
        """Raises SourceError, with FFmpeg's reason."""
        opened, self._opened = self._opened or Stream(self._url, self.name, self.problem()), None
        return opened

    def has_an_end(self) -> bool:
        """Whether the address leads to a file rather than to something that goes on; that is left open, for `open`."""
        try:
            opened = Stream(self._url, self.name, self.problem())
        except SourceError:
            return False
        if opened.has_an_end:
            opened.close()
        else:
            self._opened = opened
        return opened.has_an_end

    def problem(self) -> str:
        return (
            f"{self.name} gives no picture. Check the address and the network, and that a player such as VLC shows it."
        )

    def gone(self) -> str | None:
        return None


class Stream:
    """A stream that is open."""

    def __init__(self, url: str, name: str, problem: str) -> None:
        """Raises SourceError, with the reason behind `problem`."""
        self._name, self._late, self._damaged = name, 0, 0
        self._container = open_address(url, problem, AT_ONCE)
        try:
            self._track = video_track(self._container, name)
            self._decoder = Decoder(self._track, name)
        except SourceError:
            self._container.close()
            raise
        self.fps = rate_of(self._track)
        promised = (self._track.frames, self._track.duration, self._container.duration)
        self.has_an_end = any(p is not None and p > 0 for p in promised)
        self._waiting = Waiting()
        self._taker = threading.Thread(target=self._take, name="stream", daemon=True)

    @property
    def skipped(self) -> int:
        """Pictures so far that were left out, since newer ones had come."""
        return self._waiting.skipped + self._late

    def read(self) -> tuple[bool, Image | None]:
        """The next picture; None where one is damaged. Raises SourceStalled where none comes any more."""
        if self._taker.ident is None:
            self._taker.start()
        while True:
            packet = self._waiting.take(STALL_S)
            if packet is None:
                raise SourceStalled(f"{self._name} sends no picture any more. Check its cable or network.")
            *old, newest = [None, *self._decoder(packet, packet.is_corrupt)]
            if self._decoder.problem:
                raise SourceError(self._decoder.problem)
            self._late += max(0, len(old) - 1)
            if newest and len(self._waiting) < BEHIND:
                return True, newest.image()
            self._late += newest is not None
            if not newest and self._decoder.damage.pictures > self._damaged:
                self._damaged = self._decoder.damage.pictures
                return True, None

    def close(self) -> None:
        """Waits for what the network was asked for last, which has its own limit of time."""
        self._waiting.close()
        if self._taker.ident is not None:
            self._taker.join()
        self._container.close()

    def _take(self) -> None:
        failed = 0
        try:
            while failed < MOST_FAILED_READS:
                try:
                    for packet in self._container.demux(self._track):
                        failed = 0
                        if packet.size and not self._waiting.put(packet):
                            return
                    return
                except av.error.InvalidDataError:
                    failed += 1
        except READ_FAULTS:
            pass  # it broke off, or nothing came for STALL_S
        finally:
            self._waiting.close()


class Waiting:
    """Packets that are not decoded yet, the oldest first; between one writer and one reader."""

    def __init__(self) -> None:
        self._packets: deque[av.Packet] = deque()
        self._changed = threading.Condition()
        self._closed = self._broken = False
        self.skipped = 0

    def put(self, packet: av.Packet) -> bool:
        """Never waits. A key frame throws out what it makes worthless, once that is too much. False when closed."""
        with self._changed:
            full = len(self._packets) >= MOST_WAITING
            if full or (packet.is_keyframe and len(self._packets) >= BEHIND):
                self.skipped += len(self._packets)
                self._packets.clear()
                self._broken = full
            self._broken = self._broken and not packet.is_keyframe
            if self._broken:  # nothing can be made of it without those before
                self.skipped += 1
            else:
                self._packets.append(packet)
            self._changed.notify_all()
            return not self._closed

    def take(self, timeout_s: float) -> av.Packet | None:
        """The oldest; None where there will be none, or came none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._packets or self._closed, timeout_s)
            return self._packets.popleft() if self._packets else None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._packets)


def public(url: str) -> str:
    """What may be shown and logged of an address: no password, no token."""
    return re.sub(r"//[^/]*@", "//", url).partition("?")[0]


def open_address(url: str, problem: str, how: Mapping[str, str]) -> av.container.InputContainer:
    """What lies behind an address; opening it and each read have a limit of time. Raises SourceError, with the reason."""
    options = {"pattern_type": "none", "protocol_whitelist": PROTOCOLS} | {**how}
    try:
        return av.open(url, options=options, metadata_errors="replace", timeout=STALL_S)
    except av.error.ProtocolNotFoundError:
        kind = url.partition("://")[0]
        raise SourceError(
            f"PyAV was built without {kind}://. Have FFmpeg pass it on, `ffmpeg -i {kind}://ADDRESS -c copy -f mpegts "
            "udp://127.0.0.1:5000`, and read that: `--source udp://127.0.0.1:5000`"
        ) from None
    except READ_FAULTS as error:
        is_silent = isinstance(error, av.error.ExitError)
        why = f"nothing came for {STALL_S:.0f} s" if is_silent else reason(error)
        raise SourceError(f"{problem} ({why})") from None  # the error itself names the whole address
