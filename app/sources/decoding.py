"""From a track's packets to pictures: whole, deinterlaced, upright, with square pixels. Files and network streams share it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import av
from av.video.stream import VideoStream

from app.domain import Image
from app.errors import SourceError
from app.sources.captures import MAX_PIXELS
from app.sources.deinterlace import Deinterlacer
from app.sources.picture import Pictures

MOST_FAILED_READS = 100  # in a row; then the rest is given up
# After damage pictures are built on broken ones until the next key frame, and look like it. Where none comes, as in streams
# that are refreshed a stripe at a time, so long is enough for most of the picture.
LONGEST_SKIP_S = 2.0
NOT_FOOTAGE = ("tty",)  # FFmpeg paints text files
REORDERED = 64  # packets, at most, after which a packet's frame comes out
TAIL = 64  # zero bytes at the end of a JPEG that was damaged
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


class Decoder:
    """Takes a track's packets in their order. What is damaged is left out and counted."""

    def __init__(self, stream: VideoStream, name: str) -> None:
        stream.codec_context.copy_opaque = True  # a frame knows the number of its packet
        # Frames on several threads would hide damage behind each other, and come out later.
        stream.thread_type = "SLICE"
        self.damage = Damage()
        self.problem = ""  # for people: why nothing more is decoded
        self.begun = False  # what comes before the first key frame was cut away, and is not damaged
        self._stream, self._name, self._packets = stream, name, 0
        self._picture, self._deinterlace, self._aspects = Pictures(), Deinterlacer(), _Aspects(stream)
        self._skip_until_s: float | None = None  # after damage; a key frame ends it sooner
        self._torn = set[int]()  # numbers of packets in which something is missing

    def __call__(self, packet: av.Packet, is_torn: bool) -> Iterator[Picture]:
        """The pictures that are ready now, in the order in which they are shown."""
        number, self._packets = self._packets, self._packets + 1
        self.begun = self.begun or packet.is_keyframe
        if is_torn:
            self._torn = {n for n in self._torn if n > number - REORDERED} | {number}
            self.damaged(time_of(packet))
        if packet.has_sidedata("encryption_info"):
            self.problem = f"{self._name} is encrypted. Decrypt it first, or record the screen that plays it."
            return
        packet.opaque = number
        try:
            frames = packet.decode()
        except READ_FAULTS:
            if packet.size:
                self.damaged(time_of(packet), 1)
            return
        self._aspects.note(number)
        for frame in frames:
            if self._is_good(frame):
                yield from map(self._made, self._deinterlace(frame, self._stream.time_base))

    def end(self) -> Iterator[Picture]:
        """What is still inside."""
        yield from map(self._made, self._deinterlace.end())

    def damaged(self, time_s: float, pictures: int = 0) -> None:
        """Something is missing there."""
        if not self.begun:
            return
        damage = self.damage
        if self._skip_until_s is None:
            damage.places += 1
        if math.isnan(damage.first_s):
            damage.first_s = time_s
        damage.pictures += pictures
        self._skip_until_s = time_s + LONGEST_SKIP_S

    def _is_good(self, frame: av.VideoFrame) -> bool:
        """Whether nothing of a picture is damaged, by what FFmpeg says of it and by what came before."""
        time_s = time_of(frame)
        if frame.is_corrupt or frame.opaque in self._torn:
            self._torn.discard(frame.opaque)
            self.damaged(time_s)
        elif self._skip_until_s is None:
            return True
        elif frame.key_frame or time_s >= self._skip_until_s:
            self._skip_until_s = None
            return True
        self.damage.pictures += self.begun
        return False

    def _made(self, frame: av.VideoFrame) -> Picture:
        return Picture(partial(self._image, frame, self._aspects.of(frame)), time_of(frame))

    def _image(self, frame: av.VideoFrame, aspect: Fraction | None) -> Image:
        try:
            return self._picture(frame, aspect)
        except READ_FAULTS as error:
            raise SourceError(
                f"{self._name} has pictures of a kind that cannot be shown ({frame.format.name}): {reason(error)}. "
                f"{convert(self._name)}"
            ) from error


class _Aspects:
    """A pixel's width over its height: the container's word, until the decoder's own changes on the way."""

    def __init__(self, stream: VideoStream) -> None:
        self._context, self._inside = stream.codec_context, stream.codec_context.sample_aspect_ratio
        # So few: a stream may go on for ever.
        self._from: deque[tuple[int, Fraction | None]] = deque([(0, stream.sample_aspect_ratio)], maxlen=REORDERED)

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


def with_tears(packets: Iterable[av.Packet], codec: str) -> Iterator[tuple[av.Packet, bool]]:
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


def video_track(container: av.container.InputContainer, name: str) -> VideoStream:
    """The first video track that is not a cover picture. Raises SourceError with the reason where none can be read."""
    disposition = av.stream.Disposition.attached_pic
    tracks = [s for s in container.streams.video if not s.disposition & disposition]
    if not tracks or container.format.name in NOT_FOOTAGE:
        kinds = {"a cover picture" if s.type == "video" else s.type for s in container.streams}
        kinds = " and ".join(sorted(kinds)) or "nothing"
        raise SourceError(f"{name} has no video track, only {kinds}. Name a file with pictures.")
    stream = tracks[0]
    context = stream.codec_context
    if context is None:
        raise SourceError(f"{name} is coded in a way that FFmpeg does not know here. {convert(name)}")
    if context.width * context.height > MAX_PIXELS:
        raise SourceError(
            f"{name} says that its pictures have {context.width}x{context.height} pixels; more than 64 million are "
            f"not read. Scale it down: `ffmpeg -i {name} -vf scale=1920:-2 smaller.mp4`."
        )
    return stream


def rate_of(stream: VideoStream) -> float | None:
    rates = (stream.average_rate, stream.guessed_rate)
    return next((float(r) for r in rates if r and 0.1 <= r < 1000), None)  # 1000 and 90000 are time bases


def time_of(at: av.Packet | av.VideoFrame) -> float:
    ticks = at.dts if at.pts is None else at.pts
    return math.nan if ticks is None or not at.time_base else float(ticks * at.time_base)


def reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).removesuffix(".")[:200]


def convert(name: str) -> str:
    return f"Check it, or convert it: `ffmpeg -i {name} converted.mp4`."
