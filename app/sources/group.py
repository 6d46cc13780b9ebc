"""Several sources of one run, seen as one by whoever tells how the run does."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain import SourceState, SourceStatus
from app.sources.source import Source


class Group:
    """Lost only when all are; each camera's own state is its source's."""

    live, camera, frame_count = True, False, None

    def __init__(self, sources: Sequence[Source], names: Sequence[str]) -> None:
        self._sources = tuple(sources)
        self.name = ", ".join(names)
        self.fps = max((s.fps for s in sources if s.fps), default=None)

    @property
    def note(self) -> str:
        return "; ".join(dict.fromkeys(s.note for s in self._sources if s.note))

    @property
    def damaged(self) -> str:
        return "; ".join(s.damaged for s in self._sources if s.damaged)

    def status(self) -> SourceStatus:
        states = [source.status() for source in self._sources]
        return next((s for s in states if s.state is not SourceState.LOST), states[0])

    def close(self) -> None:
        for source in self._sources:
            source.close()


def names_of(sources: Sequence[Source]) -> list[str]:
    """The sources' names, each once: a second "clip.mp4" is "clip.mp4 2"."""
    names: list[str] = []
    for source in sources:
        number, name = 1, source.name
        while name in names:
            number += 1
            name = f"{source.name} {number}"
        names.append(name)
    return names
