"""`simulate --kiosks`: a site with many kiosks and one server, as the command line names it, and its table."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from app.files import read_bounded
from app.reports.worlds import known_profile, read_crowd
from scheduler.kiosks import Simulation
from scheduler.places import SERVER
from scheduler.site import WAYS, Figures, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.profile import OperatingPoint

MOST_KIOSKS, MOST_BYTES = 100_000, 10_000_000
NUMBER = re.compile(r"\d+(?:\.\d+)?")
PING = re.compile(r"time[=<](\d+(?:\.\d+)?) ?ms")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for."""

    kiosks: int
    server: Path | None
    round_trips: Path | None = None
    workers: int = 1
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.kiosks <= MOST_KIOSKS:
            raise UsageError(f"--kiosks must be from 1 to {MOST_KIOSKS}, got {self.kiosks}")
        if not (1 <= self.workers <= 1000 and 0.1 <= self.seconds <= 3600):
            raise UsageError("--workers must be from 1 to 1000, and --seconds from 0.1 to 3600")
        if self.server is None:
            raise UsageError(
                "--kiosks needs --server-profile: what `main.py calibrate --out` wrote on the server's own machine"
            )


def simulate_site(plan: Plan, here: Path | None, crowd: str, budget_ms: float, fps: float, seed: int) -> dict[str, Any]:
    """Prints the table; returns its figures. Raises UsageError."""
    mine, about = known_profile(here)
    theirs, about_server = known_profile(plan.server)
    people = read_crowd(crowd, max(int(plan.seconds * fps), 1), fps)
    try:
        site = Site(
            kiosks=plan.kiosks, here=mine, server=theirs, round_trips_ms=read_round_trips(plan.round_trips),
            faces=people.faces, arrivals=people.arrivals, budget_ms=budget_ms, fps=fps, seconds=plan.seconds,
            workers=plan.workers,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"--kiosks: {error}") from error
    print(
        f"{site.kiosks} kiosks ({about}), crowd {crowd}, {fps:g} fps, budget {budget_ms:g} ms, {plan.seconds:g} s; "
        f"server: {about_server}, {site.workers} at once"
    )
    began, rows = time.perf_counter(), list(outcomes(site, seed))
    for line in table(site, rows):
        print(line)
    took_s = time.perf_counter() - began
    frames = sum(f.frames for f in rows)
    print(f"speed     {frames / took_s * 60 / 1e6:.2f} million frames a minute")
    return {"kiosks": site.kiosks, "ways": [to_json(f, site) for f in rows]}


def outcomes(site: Site, seed: int) -> Iterator[Figures]:
    """The outcome of each way, all with the same crowds."""
    best = best_in_common(site)
    for how in WAYS:
        yield Simulation(site, how, best, random.Random(seed).random).run()


def best_in_common(site: Site) -> OperatingPoint:
    """What a fixed exit would be: the least error that kiosks and server have."""
    theirs = {p.point for p in site.known.points if p.point.engine == SERVER}
    shared = [p for p in site.here.points if p.point._replace(engine=SERVER) in theirs]
    return min(shared, key=lambda p: p.error).point


def table(site: Site, rows: list[Figures]) -> Iterator[str]:
    titles = (
        f"{'in time':>9}{'MAE':>7}{'read':>8}{'by server':>11}{'given up':>10}{'server busy':>13}{'kiosk busy':>12}"
    )
    yield f"{'way':<26}{titles}"
    for f in rows:
        row = to_json(f, site)
        yield (
            f"{f.how:<26}{f.attainment:>9.1%}{f.mae:>7.2f}{row['read']:>8.0%}{row['by_server']:>11.0%}"
            f"{row['given_up']:>10.1%}{row['busy']:>13.0%}{row['kiosk_busy']:>12.1%}"
        )


def to_json(f: Figures, site: Site) -> dict[str, Any]:
    """Shares of frames, faces, and time."""
    return {
        "way": f.how,
        "frames": f.frames,
        "in_time": f.attainment,
        "mae": f.mae if f.shown else None,
        "read": f.read / max(f.faces, 1),
        "by_server": f.by[SERVER] / max(f.read, 1),
        "given_up": f.unanswered / max(f.frames, 1),
        "busy": f.busy_ms / (site.seconds * 1000 * site.workers),
        "kiosk_busy": f.own_ms / (site.seconds * 1000 * site.kiosks),
    }


def read_round_trips(path: Path | None) -> list[float]:
    """Milliseconds, one a line, or what `ping` prints. Raises UsageError. None: half a millisecond each time."""
    if path is None:
        return [0.5]
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"--round-trips {path} cannot be read: {error}") from error
    pinged = PING.findall(text)
    trips = [float(ms) for ms in pinged or (line.strip() for line in text.splitlines()) if NUMBER.fullmatch(ms)]
    trips = [ms for ms in trips if ms < 1e5]
    if not trips:
        raise UsageError(f"--round-trips {path} has no milliseconds, one a line, and is not what `ping` prints")
    return trips
