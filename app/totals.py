"""Counts of a whole run."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from app.domain import DropCause

# Frame ages kept for the summary's percentiles: the last 20 minutes at 30 frames a second.
AGES_KEPT = 36_000


@dataclass
class Totals:
    """Counts of a whole run."""

    frames: int = 0
    faces: int = 0
    read: int = 0
    misses: int = 0
    slow: int = 0  # frames with faces in moments that the probe called slow
    exits: Counter[str] = field(default_factory=Counter)
    drops: Counter[DropCause] = field(default_factory=Counter)
    ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=AGES_KEPT))
    reconnects: int = 0
    unanswered: int = 0  # batches that a server did not read, and this machine did instead
    server_losses: int = 0
    first_result_s: float | None = None
    last_result_s: float | None = None
