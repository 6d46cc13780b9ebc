"""A server that speaks KServe v2 over gRPC, as Triton does; an extra (requirements-server.txt). What it has to have loaded is
written by `main.py export --triton` (triton.py).

A server may be late or gone. A request that is not answered in the time that it was given raises Unanswered at once: whoever
asked reads here with what time is left. A server that fails, answers nonsense, or is late twice in a row is *out*: nobody
asks it, until a thread that sends a made picture, less and less often, gets the answer that this machine gives, in about the
time that it took at first (watch.py).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from app.errors import DeviceError, UsageError
from app.network.engine import LocalEngine, Outputs, Unanswered
from app.network.graphs import heads_of
from app.network.watch import Watch
from scheduler.places import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from app.domain import Reading
    from app.network.graphs import Graph
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

MISSING = "a server is asked with tritonclient: run `pip install -r requirements-server.txt`"
PORT = 8001
# For what has no deadline: loading, measuring, files.
PATIENCE_S, CONNECTING_S = 5.0, 3.0
LEAST_S = 0.005
LATE = 2  # requests in a row
# As config.pbtxt has them: people of whom nothing is known come before those who are read again.
NEWCOMERS, OTHERS = 1, 2
# How far a server's answer may be from this machine's, years and probabilities: other arithmetic, not another network.
YEARS, SHARE = 1.5, 0.1
FACES = 2  # in the made picture


@dataclass(frozen=True)
class ServerAddress:
    """The address given by `--server`."""

    host: str
    port: int
    encrypted: bool

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Raises UsageError."""
        example = "grpc://HOST:8001, or grpcs://HOST:8001 with TLS"
        try:
            parts = urlsplit(text)
            port = parts.port or PORT
        except ValueError as error:
            raise UsageError(f"--server has no usable host or port: write it as {example}") from error
        if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or not text.isascii() or not text.isprintable():
            raise UsageError(f"--server must be {example}, got {text[:80]!r}")
        if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
            raise UsageError(f"--server takes a host and a port and nothing else: write it as {example}")
        return cls(parts.hostname, port, parts.scheme == "grpcs")

    @property
    def target(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"grpc{'s' if self.encrypted else ''}://{self.target}"


def model_name(manifest: Manifest, point: OperatingPoint) -> str:
    """At the server. The network's hash is part of it: another network has no such models."""
    exit = point.exit.replace("+", "_")
    return f"{manifest.name}-{manifest.sha256[:8]}-{exit}-{point.size}"


class RemoteEngine(LocalEngine):
    """Points are read by the server, while it is there. It is asked by one thread at a time, and watched by another."""

    name = SERVER

    def __init__(
        self,
        manifest: Manifest,
        address: ServerAddress,
        reference: Callable[[OperatingPoint, NDArray[np.uint8]], Outputs],
        points: Collection[OperatingPoint] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reference` reads faces here: what the server says is compared with it. A server that does not answer is out, and
        no error. Raises DeviceError where the library is missing."""
        _library()
        super().__init__(manifest, 1, points=points)
        self.address, self.provider, self._clock = address, f"server {address.target}", clock
        self._heads = {p: heads_of(manifest, p.exit) for p in self.points}
        self.manifest = manifest
        self.expected = {p: reference(p._replace(engine=""), made_faces(p.size)) for p in self.points}
        self._loaded = {(p, b): model_name(manifest, p) for p in self.points for b in self.buckets}
        self.ready = self.points
        self._until_s: float | None = None  # the deadline of the batch that comes next
        self._priority, self._late = OTHERS, 0
        self._client: Any = None
        self._everything = True  # is to be looked at before it is taken back
        self._usual_s: float | None = None  # that the made pictures took at first
        self._watch = Watch(self._ask, random.random, clock)
        try:
            self._ask()
        except Unanswered as error:
            self._watch.lost(str(error))

    @property
    def there(self) -> bool:
        """Whether it may be asked."""
        return self._watch.there

    @property
    def text(self) -> str:
        """For people: why it is out."""
        return self._watch.text

    def before(self, left_ms: float, newcomers: int) -> None:
        """Says of the next batch after how many milliseconds it is late, and how many of its people were never read."""
        self._until_s = self._clock() + left_ms / 1e3
        self._priority = NEWCOMERS if newcomers else OTHERS

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        """Raises Unanswered."""
        try:
            return super().read(point, faces)
        finally:
            self._until_s = None

    def _load(self, graph: Graph) -> dict[tuple[OperatingPoint, int], Any]:
        raise AssertionError("a server has loaded all of it")

    def request(self, point: OperatingPoint, faces: NDArray[np.uint8], limit_s: float) -> None:
        """One request, whatever is known of the server: to measure it. Raises Unanswered."""
        self._infer(self._client, self._loaded[point, 1], point, faces, limit_s)

    def _run(self, loaded: Any, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if not self.there:
            raise Unanswered(self.text)
        limit_s = PATIENCE_S if self._until_s is None else self._until_s - self._clock()
        try:
            given = self._infer(self._client, loaded, point, faces, min(max(limit_s, LEAST_S), PATIENCE_S))
        except Unanswered as error:
            late = isinstance(error, Late)
            self._late += late
            if not late or self._late >= LATE:
                self._everything = not late
                self._watch.lost(str(error))
            raise
        self._late = 0
        return given

    def _infer(
        self, client: Any, model: str, point: OperatingPoint, faces: NDArray[np.uint8], limit_s: float
    ) -> list[NDArray[np.float32]]:
        """Raises Unanswered for whatever is not an answer."""
        grpc = _library()
        crops = grpc.InferInput(self.manifest.input_name, list(faces.shape), "UINT8")
        crops.set_data_from_numpy(np.ascontiguousarray(faces))
        wanted = [grpc.InferRequestedOutput(head) for head in self._heads[point]]
        try:
            result = client.infer(
                model,
                [crops],
                outputs=wanted,
                priority=self._priority,
                timeout=int(limit_s * 1e6),
                client_timeout=limit_s,
            )
            given = [result.as_numpy(head) for head in self._heads[point]]
        except Exception as error:  # InferenceServerException, and what a broken answer raises
            raise unanswered(error, self.address, limit_s) from error
        shapes = [e.shape[1:] for e in self.expected[point]]
        if any(
            g is None or g.shape != (len(faces), *s) or not np.isfinite(g).all()
            for g, s in zip(given, shapes, strict=True)
        ):
            raise Unanswered(
                f"{self.address} gives no readings of {len(faces)} faces at {point}: is it the right model?"
            )
        return [g.astype(np.float32, copy=False) for g in given]

    def _ask(self) -> None:
        """Takes the server up where it answers as this machine does, in about the time that it took at first: at the dearest
        point where it was late only, else at all. Raises Unanswered."""
        client, everything = self._connected(), self._everything
        asked, began = self.points if everything else self.points[-1:], self._clock()
        try:
            for point in asked:
                faces = made_faces(point.size)
                given = self._infer(client, self._loaded[point, FACES], point, faces, CONNECTING_S)
                self._compare(point, given)
            took_s = (self._clock() - began) / len(asked)
            if self._usual_s and took_s > SLOWER * max(self._usual_s, LEAST_S):
                raise Late(f"{self.address} takes {took_s * 1e3:.0f} ms, usual are {self._usual_s * 1e3:.0f} ms")
        except Unanswered:
            client.close()
            raise
        if everything:
            self._usual_s = self._usual_s or took_s
        before, self._client, self._late = self._client, client, 0
        if before is not None:
            before.close()

    def _compare(self, point: OperatingPoint, given: list[NDArray[np.float32]]) -> None:
        expected, years = self.expected[point], np.arange(given[0].shape[1])
        apart = np.abs((given[0] - expected.age) @ years).max()
        rest = max(np.abs(g - e).max() for g, e in zip(given[1:], expected[1:], strict=True))
        if apart > YEARS or rest > SHARE:
            raise Unanswered(
                f"{self.address} has another network as {model_name(self.manifest, point)}: its ages are {apart:.1f} years "
                "from ours. Export it again with `main.py export --triton`"
            )

    def _connected(self) -> Any:
        grpc = _library()
        # No proxy may see faces; and each try is a connection of its own, or gRPC would not try again for seconds.
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        trusted = (
            os.environ.get("SSL_CERT_FILE") or None
        )  # as with --webhook; else the authorities that gRPC ships with
        try:
            return grpc.InferenceServerClient(
                self.address.target, ssl=self.address.encrypted, root_certificates=trusted, channel_args=options
            )
        except OSError as error:
            raise DeviceError(f"--server: SSL_CERT_FILE {trusted} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        self._watch.close()
        super().close()
        if self._client is not None:
            self._client.close()


class Late(Unanswered):
    """No answer in the time that was given; the next may be in time."""


SLOWER = 4.0  # times the usual, from which a server that answers is not taken back


def unanswered(error: Exception, address: ServerAddress, limit_s: float) -> Unanswered:
    """What went wrong, for people. Triton refuses what has waited for longer than its timeout with UNAVAILABLE."""
    status, text = str(getattr(error, "status", lambda: "")()), str(error)
    if "DEADLINE_EXCEEDED" in status or "timeout expired" in text.lower():
        return Late(f"{address} did not answer within {limit_s * 1e3:.0f} ms")
    if "NOT_FOUND" in status or "unknown model" in text.lower():
        return Unanswered(
            f"{address} has not loaded this network: export it with `main.py export --triton` ({text[:200]})"
        )
    return Unanswered(f"{address} does not answer: {text[:300]}")


def made_faces(size: int) -> NDArray[np.uint8]:
    """Two smooth pictures, the same everywhere."""
    y, x = np.mgrid[0:size, 0:size] / size
    blob = np.exp(-((x - 0.5) ** 2 + (y - 0.45) ** 2) / 0.08)[..., None]
    tones = np.array([[[[90, 70, 60]]], [[[30, 60, 90]]]])
    return np.clip(tones + 110 * blob, 0, 255).astype(np.uint8)


def _library() -> Any:
    """Raises DeviceError."""
    try:
        import tritonclient.grpc as grpc
    except ImportError as error:
        raise DeviceError(f"{MISSING}, or leave out --server") from error
    return grpc
