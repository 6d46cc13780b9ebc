"""Videos read by PyAV: every picture with its own time, damage skipped and counted."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import IO, NamedTuple, Protocol

import av
from av.video.stream import VideoStream

from app.domain import Image
from app.errors import SourceError
from app.sources.captures import MAX_PIXELS, STALL_S
from app.sources.deinterlace import Deinterlacer
from app.sources.picture import Pictures

FALLBACK_FPS = 25.0
MOST_FAILED_READS = 100  # in a row; then the rest of the file is given up
# After damage pictures are built on broken ones until the next key frame, and look like it. Where none comes, as in streams
# that are refreshed a stripe at a time, so long is enough for most of the picture.
LONGEST_SKIP_S = 2.0
NOT_FOOTAGE = ("tty",)  # FFmpeg paints text files
TAIL = 64  # bytes of nought at the end of a JPEG that was damaged
READ_FAULTS = (av.error.FFmpegError, ValueError, OSError)


class Picture(NamedTuple):
    """One picture and when it is shown, in seconds of the file's own clock; NaN where the file does not say."""

    image: Callable[[], Image]  # made when it is asked for: most of the work, for pictures that nobody wants
    time_s: float


@dataclass
class Damage:
    """What could not be decoded."""

    places: int = 0  # between pictures that are good
    pictures: int = 0  # left out there
    first_s: float = math.nan  # of the file's own clock
    cut_off: str = ""  # for people, where the file ends before it should


class Footage(Protocol):
    """A file that is open. It is read once."""

    fps: float | None
    frame_count: int | None  # as promised; an estimate where the file does not count
    damage: Damage
    problem: str  # for people: why not one picture came; "" where that is not known

    def pictures(self) -> Generator[Picture, None, None]: ...

    def close(self) -> None: ...


@dataclass
class _Extent:
    """How far a file was read, to know one that was cut off."""

    packets: int = 0
    lost: int = 0  # of an AVI, by its index
    first_s: float = math.nan
    end_s: float = math.nan


class Video:
    """A video file, or one behind http. Opening reads its head only."""

    def __init__(self, target: str | IO[bytes], name: str, problem: str) -> None:
        """Raises SourceError with the reason, or with `problem` where FFmpeg has none."""
        self._name, self.damage, self.problem = name, Damage(), ""
        network = isinstance(target, str) and "://" in target
        # pattern_type: "%02d" in a picture's name is no series. No protocol but file: a playlist must not call others.
        options = {"pattern_type": "none"} if network else {"pattern_type": "none", "protocol_whitelist": "file,pipe"}
        try:
            self._container = av.open(
                target, options=options, metadata_errors="replace", timeout=STALL_S if network else None
            )
        except READ_FAULTS as error:
            raise SourceError(f"{problem} ({_reason(error)})" if network else problem) from error
        try:
            self._stream = _video_stream(self._container, name)
        except SourceError:
            self._container.close()
            raise
        self._stream.codec_context.copy_opaque = True  # a frame knows the number of its packet
        self._stream.thread_type = "SLICE"  # frames on several threads would hide damage behind each other
        self.fps = _fps(self._stream)
        self._duration_s = _duration_s(self._container, self._stream)
        estimate = round(self._duration_s * self.fps) if self._duration_s and self.fps else None
        self.frame_count = self._stream.frames or estimate or None
        self._extent = _Extent()
        self._aspects = _Aspects(self._stream)
        self._begun = False  # what comes before the first key frame was cut away, and is not damaged
        self._skip_until_s: float | None = None  # after damage; a key frame ends it sooner
        self._torn = set[int]()  # numbers of packets in which something is missing
        self._index = _index(self._stream) if self._container.format.name == "avi" else {}

    def pictures(self) -> Generator[Picture, None, None]:
        """In the order in which they are shown; what is damaged is left out and counted."""
        picture, deinterlace = Pictures(), Deinterlacer()
        for frame in self._frames(deinterlace):
            yield Picture(partial(self._made, picture, frame, self._aspects.of(frame)), _time_s(frame))
        self._judge_the_end()

    def close(self) -> None:
        self._container.close()

    def _made(self, picture: Pictures, frame: av.VideoFrame, aspect: Fraction | None) -> Image:
        try:
            return picture(frame, aspect)
        except READ_FAULTS as error:
            raise SourceError(
                f"{self._name} has pictures of a kind that cannot be shown ({frame.format.name}): {_reason(error)}. "
                f"{_convert(self._name)}"
            ) from error

    def _frames(self, deinterlace: Deinterlacer) -> Iterator[av.VideoFrame]:
        for number, (packet, is_torn) in enumerate(_with_tears(self._packets(), self._stream.codec_context.name)):
            self._begun = self._begun or packet.is_keyframe
            if is_torn:
                self._torn.add(number)
                self._damaged(_time_s(packet))
            if packet.has_sidedata("encryption_info"):
                self.problem = f"{self._name} is encrypted. Decrypt it first, or record the screen that plays it."
                return
            packet.opaque = number
            try:
                frames = packet.decode()
            except READ_FAULTS:
                if packet.size:
                    self._damaged(_time_s(packet), 1)
                continue
            self._aspects.note(number)
            for frame in frames:
                if self._is_good(frame):
                    yield from deinterlace(frame, self._stream.time_base)
        yield from deinterlace.end()

    def _is_good(self, frame: av.VideoFrame) -> bool:
        """Whether nothing of a picture is damaged, by what FFmpeg says of it and by what came before."""
        time_s = _time_s(frame)
        if frame.is_corrupt or frame.opaque in self._torn:
            self._torn.discard(frame.opaque)
            self._damaged(time_s)
        elif self._skip_until_s is None:
            return True
        elif frame.key_frame or time_s >= self._skip_until_s:
            self._skip_until_s = None
            return True
        self.damage.pictures += self._begun
        return False

    def _damaged(self, time_s: float, pictures: int = 0) -> None:
        if not self._begun:
            return
        damage = self.damage
        if self._skip_until_s is None:
            damage.places += 1
        if math.isnan(damage.first_s):
            damage.first_s = time_s
        damage.pictures += pictures
        self._skip_until_s = time_s + LONGEST_SKIP_S

    def _packets(self) -> Iterator[av.Packet]:
        """All of them, beyond places that cannot be read, and at last an empty one that brings out what waits inside."""
        failed = 0
        while failed < MOST_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size == 0:
                        if packet.dts is None and packet.pts is None:
                            yield packet
                            return
                        continue  # a place holder: the last picture stays
                    failed = 0
                    self._set_right(packet)
                    self._reach(packet)
                    yield packet
                return
            except READ_FAULTS:
                self._damaged(self._extent.end_s)
                failed += 1

    def _set_right(self, packet: av.Packet) -> None:
        """An AVI has no times: they are counted, and what is lost is not counted. Its index knows better."""
        ticks = self._index.get(packet.pos, packet.dts)
        if packet.dts is None or ticks is None or ticks <= packet.dts:
            return
        lost = ticks - packet.dts
        if lost > self._extent.lost:
            self._damaged(self._extent.end_s, lost - self._extent.lost)
            self._extent.lost = lost
        packet.pts, packet.dts = None if packet.pts is None else packet.pts + lost, ticks

    def _reach(self, packet: av.Packet) -> None:
        extent, time_s = self._extent, _time_s(packet)
        extent.packets += 1
        if not math.isnan(time_s):
            extent.first_s = min(time_s, extent.first_s) if extent.packets > 1 else time_s
            end_s = time_s + float((packet.duration or 0) * packet.time_base)
            extent.end_s = end_s if math.isnan(extent.end_s) else max(extent.end_s, end_s)

    def _judge_the_end(self) -> None:
        extent, promised = self._extent, self.frame_count
        end_s = extent.end_s if extent.packets else 0.0
        if broke_off(extent.packets, promised, end_s, self._duration_s):
            self.damage.cut_off = f"broke off at frame {extent.packets} of {promised}; it is cut off or damaged"


class _Aspects:
    """A pixel's width over its height: the container's word, until the decoder's own changes on the way."""

    def __init__(self, stream: VideoStream) -> None:
        self._context, self._inside = stream.codec_context, stream.codec_context.sample_aspect_ratio
        self._from: list[tuple[int, Fraction | None]] = [(0, stream.sample_aspect_ratio)]

    def note(self, packet: int) -> None:
        """After a packet was decoded, by its number."""
        inside = self._context.sample_aspect_ratio
        if inside != self._inside:
            if self._inside or not self._from[0][1]:
                self._from.append((packet, inside))
            self._inside = inside

    def of(self, frame: av.VideoFrame) -> Fraction | None:
        """Frames come out packets later than they went in."""
        packet = frame.opaque
        if packet is None:
            return self._from[-1][1]
        return next(aspect for first, aspect in reversed(self._from) if first <= packet)


def _with_tears(packets: Iterable[av.Packet], codec: str) -> Iterator[tuple[av.Packet, bool]]:
    """Each packet, and whether something is missing in it.

    MPEG-TS flags a packet also where two recordings were joined. There a key frame follows at once: nothing is missing.
    """
    ahead = deque[av.Packet]()
    for packet in packets:
        ahead.append(packet)
        if len(ahead) > 2:
            yield ahead[0], _is_torn(ahead, codec)
            ahead.popleft()
    while ahead:
        yield ahead[0], _is_torn(ahead, codec)
        ahead.popleft()


def _is_torn(ahead: deque[av.Packet], codec: str) -> bool:
    packet, *others = ahead
    if codec == "mjpeg" and packet.size > 2 * TAIL and not any(memoryview(packet)[-TAIL:]):
        return True  # its decoder fills in grey and says nothing
    return packet.is_corrupt and not any(p.size and p.is_keyframe for p in others)


def broke_off(frames: int, promised: int | None, end_s: float, duration_s: float | None) -> bool:
    """Whether a file ended well before its container said, in frames and in time.

    Both, because a count is often duration times an estimated rate, and because a GIF's rate is an estimate itself.
    """
    if promised is None or promised - frames <= max(1, 0.03 * promised):
        return False
    return duration_s is None or not end_s >= 0.97 * duration_s


def _video_stream(container: av.container.InputContainer, name: str) -> VideoStream:
    """The first video track that is no cover picture. Raises SourceError with the reason where none can be read."""
    disposition = av.stream.Disposition.attached_pic
    tracks = [s for s in container.streams.video if not s.disposition & disposition]
    if not tracks or container.format.name in NOT_FOOTAGE:
        kinds = {"a cover picture" if s.type == "video" else s.type for s in container.streams}
        kinds = " and ".join(sorted(kinds)) or "nothing"
        raise SourceError(f"{name} has no video track, only {kinds}. Name a file with pictures.")
    stream = tracks[0]
    context = stream.codec_context
    if context is None:
        raise SourceError(f"{name} is coded in a way that FFmpeg does not know here. {_convert(name)}")
    if context.width * context.height > MAX_PIXELS:
        raise SourceError(
            f"{name} says that its pictures have {context.width}x{context.height} pixels; more than 64 million are "
            f"not read. Scale it down: `ffmpeg -i {name} -vf scale=1920:-2 smaller.mp4`."
        )
    return stream


def _index(stream: VideoStream) -> dict[int, int]:
    """Where a packet's data begins, behind eight bytes of name and length, to its time in ticks."""
    entries = stream.index_entries
    return {entries[i].pos + 8: entries[i].timestamp for i in range(len(entries))}


def _fps(stream: VideoStream) -> float | None:
    rates = (stream.average_rate, stream.guessed_rate)
    return next((float(r) for r in rates if r and 0.1 <= r < 1000), None)  # 1000 and 90000 are time bases


def _duration_s(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """Of the video track; None where only that of everything together is known."""
    rate = _fps(stream)
    if container.format.name == "avi" and stream.frames and rate:  # without its index FFmpeg goes by what is left
        return stream.frames / rate
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\s*", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) == 1 and container.duration and container.duration > 0:
        return container.duration / av.time_base
    return None


def _time_s(at: av.Packet | av.VideoFrame) -> float:
    ticks = at.dts if at.pts is None else at.pts
    return math.nan if ticks is None or not at.time_base else float(ticks * at.time_base)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).removesuffix(".")[:200]


def _convert(name: str) -> str:
    return f"Check it, or convert it: `ffmpeg -i {name} converted.mp4`."
