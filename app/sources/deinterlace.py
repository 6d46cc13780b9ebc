"""Two fields that were taken one after the other, woven into one frame, made into one picture again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph


class Deinterlacer:
    """Passes frames on; from the first that is flagged as interlaced through FFmpeg's `bwdif`, which leaves others alone.

    It looks at the frame after the one that it gives, so frames come out one late: `end` gives the last.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame, time_base: Fraction) -> Iterator[av.VideoFrame]:
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph and shape != self._shape:
            yield from self.end()
        if self._graph is None:
            if not frame.interlaced_frame or frame.format.has_palette:
                yield frame
                return
            self._graph, self._shape = _graph(frame, time_base), shape
        self._graph.push(frame)
        yield from self._pull()

    def end(self) -> Iterator[av.VideoFrame]:
        """What is still inside."""
        if self._graph:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None

    def _pull(self) -> Iterator[av.VideoFrame]:
        while self._graph:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _graph(frame: av.VideoFrame, time_base: Fraction) -> Graph:
    """One picture for each frame, of those flagged only; which field comes first is the frame's own word."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph
