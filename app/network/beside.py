"""This machine's engine, and a server beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.network.several import Several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.network.engine import Engine
    from app.network.remote import RemoteEngine


class Beside(Several):
    """The points of both; those of a server that is out raise Unanswered."""

    def __init__(self, local: Engine, server: RemoteEngine, measured: Sequence[int]) -> None:
        super().__init__((local, server), measured)
        self.local, self.server = local, server
        self.threads = getattr(local, "threads", 1)
