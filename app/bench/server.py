"""`bench server`: one server on loopback under the load of many kiosks, used in the ways of scheduler/kiosks.py.

Requests, the server and its queues are real. What a kiosk reads by itself is waited for, `--slower` times as long as this
machine takes when nobody else asks, and not computed: sixteen kiosks have sixteen processors, and this machine has not.
Clients are threads of one process; they, and the server where it runs here too, share this machine. The fixed exit is the one
with the least error that takes up to half of the budget while nobody else asks. The row without a server shows what this
machine's own hiccups leave of the deadline.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import DeviceError, UsageError
from app.files import check_writable
from app.network.elsewhere import Elsewhere
from app.network.engine import Unanswered
from scheduler.places import SERVER, decide, latency_model
from scheduler.site import FIXED, HERE, TIMEOUT, WAYS, Visitors, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from app.network.beside import Beside
    from app.network.remote import RemoteEngine
    from models.manifest import Manifest
    from scheduler.load import Decision, Load
    from scheduler.profile import OperatingPoint, Profile

ROOT = Path(__file__).parents[2]
PYTHON, SERVE = ROOT / ".venv-triton" / "bin" / "python", ROOT / "deploy" / "triton" / "serve.py"
FPS, BUDGET_MS = 25.0, 40.0
SHARE = 0.5  # of the budget that a fixed exit may take while nobody else asks
STARTING_S = 120.0
NEVER_S = 5.0  # a fixed exit without a timeout waits this long


@dataclass(frozen=True, kw_only=True)
class Task:
    """What load is put on the server."""

    clients: Sequence[int]
    faces: Sequence[int]
    seconds: float
    server: str | None = None
    slower: float = 4.0  # than this machine, a kiosk's own processor is

    def __post_init__(self) -> None:
        if not all(1 <= n <= 64 for n in self.clients) or not all(1 <= n <= 32 for n in self.faces):
            raise UsageError("--clients must be from 1 to 64, and --faces from 1 to 32")
        if not 0.5 <= self.seconds <= 3600:
            raise UsageError(f"--seconds must be from 0.5 to 3600, got {self.seconds:g}")
        if not 0.1 <= self.slower <= 100:
            raise UsageError(f"--slower must be from 0.1 to 100, got {self.slower:g}")


@dataclass
class Tally:
    """What one client counts."""

    frames: int = 0
    in_time: int = 0
    read: int = 0
    years: float = 0.0
    by: Counter[str] = field(default_factory=Counter)


class Client:
    """A kiosk: frames at a steady rate, each with the same number of faces."""

    def __init__(self, how: str, profile: Profile, remote: RemoteEngine, faces: int) -> None:
        self.tally, self._how, self._remote, self._faces = Tally(), how, remote, faces
        self._fixed = fixed_point(profile, faces)
        if how == HERE:
            profile = replace(profile, points=tuple(p for p in profile.points if p.point.engine != SERVER))
        self._profile = profile
        self._latency, self._rule = latency_model(profile), rule_of(how, 1000 / FPS)
        self._visitors = Visitors(self._rule)
        self._visitors.come_and_go(faces, faces)
        self._elsewhere = Elsewhere(remote, self._latency, time.monotonic)
        self._crops = {p.size: made_crops(faces, p.size) for p in remote.points}
        self._nobody = threading.Event()  # is never set: what waits on it waits its time

    def run(self, begin_s: float, frames: int) -> None:
        """Live: of frames that came while one was read, the newest is taken up."""
        i = 0
        while i < frames:
            born_s = begin_s + i / FPS
            self._sleep(born_s - time.monotonic())
            read = self._frame(born_s)
            now_s = time.monotonic()
            missed = max(int((now_s - born_s) * FPS), 1)
            self.tally.frames += min(missed, frames - i)
            if read and (now_s - born_s) * 1e3 <= BUDGET_MS:
                self.tally.in_time += 1
                self.tally.read += read[1]
                self.tally.years += read[1] * self._profile.mae(read[0])
                self.tally.by[read[0].engine] += read[1]
            i += missed

    def _frame(self, born_s: float) -> tuple[OperatingPoint, int] | None:
        """Who read how many; None: nobody."""
        if self._how not in (FIXED, TIMEOUT):
            return self._decided(born_s)
        limit_s = NEVER_S if self._how == FIXED else max(self._left_ms(born_s) / 1e3, 1e-3)
        try:
            self._remote.request(self._fixed, self._crops[self._fixed.size], limit_s)
        except Unanswered:
            return None
        return self._fixed, self._faces

    def _decided(self, born_s: float) -> tuple[OperatingPoint, int]:
        self._elsewhere.heed()
        load = self._visitors.load(born_s * 1e3, self._left_ms(born_s), False)
        decision, began_s = decide(self._rule, load, self._latency), time.monotonic()
        try:
            self._read(decision, load)
        except Unanswered:
            self._elsewhere.failed(decision, load, (time.monotonic() - began_s) * 1e3, first=True)
            load, began_s = load._replace(left_ms=self._left_ms(born_s)), time.monotonic()
            decision = decide(self._rule, load, self._latency)
            self._read(decision, load)
        if decision.serve:
            self._latency.observe(decision.point, decision.serve, (time.monotonic() - began_s) * 1e3, load)
            self._visitors.read(born_s * 1e3, decision.serve, self._profile.error(decision.point))
        return decision.point, decision.serve

    def _read(self, decision: Decision, load: Load) -> None:
        point, serve = decision.point, decision.serve
        if not serve:
            return
        if point.engine == SERVER:
            self._elsewhere.before(decision, load, min(load.new, serve))
            self._remote.read(point, self._crops[point.size][:serve])
        else:
            self._sleep(self._profile.median_ms(point, serve) / 1e3)

    def _left_ms(self, born_s: float) -> float:
        return BUDGET_MS - (time.monotonic() - born_s) * 1e3

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._nobody.wait(seconds)


def bench_server(task: Task, model: str, json_path: Path | None) -> int:
    """Raises UsageError, and DeviceError where there is no server."""
    if json_path:
        check_writable(json_path)
    from app.compose import load_manifest, load_profile
    from app.network.calibrate import candidates
    from app.network.open import open_engine
    from app.network.profiles import machine

    manifest = load_manifest(model)
    points = candidates(manifest)
    with _server(task.server, manifest, points) as url:
        engine: Any = open_engine(manifest, "cpu", 1, points=points, server=url)
        _wait_for(engine)
        profile, _ = load_profile(engine, manifest, 1, True, points=engine.points)
        profile = weaker(profile, task.slower)
        print(
            f"{manifest.name} at {url}; {FPS:g} frames a second, {BUDGET_MS:g} ms each; a kiosk is {task.slower:g} times as "
            "slow as this machine"
        )
        rows = list(_rows(task, profile, engine, url))
        engine.close()
    if json_path:
        report = {"machine": machine(), "model": manifest.name, "seconds": task.seconds, "rows": rows}
        json_path.write_text(json.dumps(report | {"profile": profile.to_json()}, indent=1) + "\n", encoding="utf-8")
    return 0


def weaker(profile: Profile, times: float) -> Profile:
    """A kiosk's own processor is this many times as slow as the one that was measured."""
    points = tuple(
        p if p.point.engine == SERVER else replace(p, median_ms=tuple(ms * times for ms in p.median_ms))
        for p in profile.points
    )
    return replace(profile, points=points)


def fixed_point(profile: Profile, faces: int) -> OperatingPoint:
    """What somebody would set for this many faces if they had the server to themselves."""
    theirs = [p for p in profile.points if p.point.engine == SERVER]
    fits = [p for p in theirs if profile.median_ms(p.point, faces) <= SHARE * BUDGET_MS]
    if fits:
        return min(fits, key=lambda p: p.error).point
    return min(theirs, key=lambda p: profile.median_ms(p.point, faces)).point


def _rows(task: Task, profile: Profile, engine: Beside, url: str) -> Iterator[dict[str, Any]]:
    print(f"{'clients':>7}{'faces':>7}  {'way':<24}{'in time':>9}{'MAE':>7}{'read':>7}{'by server':>11}")
    for clients in task.clients:
        remotes = [another(engine, url) for _ in range(clients)]
        for faces in task.faces:
            for how in WAYS:
                row = {"clients": clients, "faces": faces, "way": how, "fixed": str(fixed_point(profile, faces))}
                row |= load_with([Client(how, profile, r, faces) for r in remotes], task.seconds, faces)
                mae = f"{row['mae']:.2f}" if row["mae"] is not None else "-"
                print(
                    f"{clients:>7}{faces:>7}  {how:<24}{row['in_time']:>9.1%}{mae:>7}{row['read']:>7.0%}"
                    f"{row['by_server']:>11.0%}"
                )
                yield row
        for remote in remotes:
            remote.close()


def another(engine: Beside, url: str) -> RemoteEngine:
    """A client of its own; what it compares answers with is known."""
    from app.network.remote import RemoteEngine, ServerAddress

    known = engine.server.expected
    return RemoteEngine(
        engine.server.manifest,
        ServerAddress.parse(url),
        lambda point, faces: known[point._replace(engine=SERVER)],
        engine.local.points,
    )


def load_with(clients: Sequence[Client], seconds: float, faces: int) -> dict[str, Any]:
    """All at once, at different moments of a frame's time. Shares of frames, and of faces in all frames."""
    frames = max(int(seconds * FPS), 1)
    begin_s = time.monotonic() + 0.2
    threads = [
        threading.Thread(target=c.run, args=(begin_s + i / len(clients) / FPS, frames), daemon=True)
        for i, c in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total, in_time = sum(c.tally.frames for c in clients), sum(c.tally.in_time for c in clients)
    read, years = sum(c.tally.read for c in clients), sum(c.tally.years for c in clients)
    by = sum((c.tally.by for c in clients), Counter[str]())
    return {
        "frames": total,
        "in_time": in_time / total,
        "mae": years / read if read else None,
        "read": read / (total * faces),
        "by_server": by[SERVER] / read if read else 0.0,
    }


def made_crops(faces: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(size).integers(0, 256, (faces, size, size, 3), dtype=np.uint8)


@contextmanager
def _server(url: str | None, manifest: Manifest, points: Sequence[OperatingPoint]) -> Iterator[str]:
    """The one that was named, or a Triton of our own on loopback."""
    if url:
        yield url
        return
    if not (PYTHON.exists() and SERVE.exists()):
        raise DeviceError(
            "there is no Triton here: run `make triton` in the project's folder, or name one with --server"
        )
    from app.network.triton import write_repository

    with tempfile.TemporaryDirectory() as folder:
        write_repository(manifest, points, Path(folder) / "models")
        port = _free_port()
        command = [str(PYTHON), str(SERVE), str(Path(folder) / "models"), "--port", str(port)]
        process = subprocess.Popen(command, stdout=sys.stderr)
        try:
            yield f"grpc://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(engine: Beside, clock: Callable[[], float] = time.monotonic) -> None:
    """Until it answers. Raises DeviceError."""
    until_s, nobody = clock() + STARTING_S, threading.Event()
    while not engine.server.there:
        if clock() > until_s:
            engine.close()
            raise DeviceError(f"the server did not answer within {STARTING_S:.0f} s: {engine.server.text}")
        nobody.wait(0.2)
