"""Engines: an operating point and a batch of crops go in, a reading of each face comes out.

`Engine` is what the rest of the program knows. Each engine has a module: onnx_cpu, onnx_cuda, openvino, remote; several.py
makes one engine of several, open.py opens what was asked for. Nothing outside this room may assume which one runs, nor that
inference is local. tests/app/network/test_conformance.py holds for all of them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.domain import Reading
from app.errors import DeviceError, ModelError
from app.network.cores import available_cores
from app.network.graphs import Graphs, points_of
from models.manifest import TASKS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from app.network.graphs import Graph
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

AGE_CLASSES = 101
CPU_BUCKETS = (1, 2, 4, 8, 16)


class Unanswered(Exception):
    """A server did not read these faces; nothing is wrong with them. The message is for people."""


class Outputs(NamedTuple):
    """Probabilities for n faces: age (n, 101), gender (n, 2), expression (n, 7); (n, 0) of what a network does not tell."""

    age: NDArray[np.float32]
    gender: NDArray[np.float32]
    expression: NDArray[np.float32]


class Engine(Protocol):
    provider: str  # the one that really runs
    note: str  # why it is another one than one would expect; "" where there is nothing to say
    points: tuple[OperatingPoint, ...]
    ready: tuple[OperatingPoint, ...]  # of those, the ones that are loaded
    buckets: tuple[int, ...]
    pads: bool  # batches are filled up to the next bucket

    def load(self, point: OperatingPoint) -> None:
        """Makes one of `points` ready, on any thread, while others read; nothing where it is, or the engine was closed.
        Raises ModelError and DeviceError."""
        ...

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        """Reads (n, s, s, 3) uint8 RGB crops, n >= 1, s = point.size. More than the largest bucket go in several runs.
        A point that is not ready is loaded first.

        What it raises concerns these faces only: the next batch may do, unless it is a DeviceError. Unanswered: another engine
        may do at once.
        """
        ...

    def close(self) -> None:
        """Frees what was loaded; `read` raises DeviceError from then on. May be called twice."""
        ...


def bucket_of(buckets: Sequence[int], faces: int) -> int:
    """The smallest bucket that holds this many faces, or the largest."""
    return next((b for b in buckets if b >= faces), buckets[-1])


def default_threads() -> int:
    """One core is left to the front end and the window: ONNX Runtime's workers spin between frames as if nothing else ran
    (docs/decisions/0008-one-core-is-left-alone.md)."""
    return max(1, available_cores() - 1)


def widths_of(manifest: Manifest) -> list[int]:
    """The number of classes of each of a network's tasks."""
    widths = {"age": AGE_CLASSES, "gender": len(manifest.genders), "expression": len(manifest.expressions)}
    return [widths[task] for task in manifest.tasks]


class LocalEngine(ABC):
    """What engines have in common: batches that are cut and filled up, and answers that are checked."""

    name = ""  # in its operating points
    note = ""
    provider: str
    buckets: tuple[int, ...] = CPU_BUCKETS
    pads = False

    def __init__(
        self,
        manifest: Manifest,
        threads: int | None = None,
        exits: Sequence[str] | None = None,
        points: Collection[OperatingPoint] | None = None,
    ) -> None:
        """`exits` and `points` limit what can be loaded. Nothing is yet. Raises ModelError."""
        self.threads = threads or default_threads()
        self._manifest = manifest
        self.points = points_of(manifest, exits, points, self.name)
        self.ready: tuple[OperatingPoint, ...] = ()
        self._loaded: dict[tuple[OperatingPoint, int], Any] = {}  # of each point and bucket
        self._graphs: Graphs | None = None  # until all points are ready
        self._loading, self._closed = threading.Lock(), False
        self._begin()

    def _begin(self) -> None:  # noqa: B027 - most have nothing to do
        """What an engine of this kind does once, before it loads anything. Raises ModelError and DeviceError."""

    def load(self, point: OperatingPoint) -> None:
        if self._closed or (point, self.buckets[0]) in self._loaded:
            return
        with self._loading:
            if self._closed or point in self.ready:
                return
            if point not in self.points:
                raise KeyError(point)
            self._graphs = self._graphs or Graphs(self._manifest)
            self._loaded |= self._load(self._graphs(point))
            self.ready = (*self.ready, point)
            if len(self.ready) == len(self.points):
                self._graphs = None

    @abstractmethod
    def _load(self, graph: Graph) -> dict[tuple[OperatingPoint, int], Any]:
        """What `_run` is given, for each bucket of the graph's point. Raises ModelError and DeviceError."""

    @abstractmethod
    def _run(self, loaded: Any, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs of the manifest's tasks, in their order."""

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        return readings(self._manifest, point, self.outputs(point, faces))

    def outputs(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> Outputs:
        """What `read` makes its readings of."""
        if faces.shape[1:] != (point.size, point.size, 3) or faces.dtype != np.uint8 or not len(faces):
            # Not every library refuses them: OpenVINO reads whatever lies in memory.
            raise ValueError(f"{point} reads (n, {point.size}, {point.size}, 3) uint8, got {faces.shape} {faces.dtype}")
        largest = self.buckets[-1]
        if len(faces) > largest:
            parts = [self.outputs(point, faces[i : i + largest]) for i in range(0, len(faces), largest)]
            return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        n = len(faces)
        bucket = bucket_of(self.buckets, n)
        if self.pads and bucket > n:
            faces = np.concatenate([faces, np.repeat(faces[:1], bucket - n, axis=0)])
        self.load(point)
        try:
            loaded = self._loaded[point, bucket]
        except KeyError:
            raise DeviceError(f"{self.provider} was closed: start the run again") from None
        given = dict(zip(self._manifest.tasks, self._run(loaded, point, faces), strict=True))
        nothing = np.empty((n, 0), np.float32)
        return Outputs(*(given[task][:n] if task in given else nothing for task in TASKS))

    def close(self) -> None:
        self._closed = True
        with self._loading:
            self._loaded, self._graphs, self.ready = {}, None, ()

    def _try(self, loaded: Any, point: OperatingPoint, faces: int) -> None:
        """Blank faces through a point must give what the manifest promises. Raises ModelError."""
        manifest = self._manifest
        blank = np.zeros((faces, point.size, point.size, 3), np.uint8)
        promised = [(faces, width) for width in widths_of(manifest)]
        try:
            given = self._run(loaded, point, blank)
        except Exception as error:  # each library raises a dozen types of its own
            raise ModelError(f"{manifest.name} does not take its manifest's input at {point}: {error}") from error
        if [o.shape for o in given] != promised or not all(np.isfinite(o).all() for o in given):
            raise ModelError(
                f"{manifest.name} does not fit its manifest at {point}: finite outputs of {promised} are promised, "
                f"it gives {[o.shape for o in given]}"
            )


def readings(manifest: Manifest, point: OperatingPoint, outputs: Outputs) -> list[Reading]:
    """One per face. Age is the expectation over the age classes; the interval was calibrated per exit on held-out faces."""
    scale = manifest.exit(point.exit).interval_scale(point.size)
    years, ages_p = np.arange(outputs.age.shape[1]), outputs.age.astype(np.float64)
    # Row by row: a matrix product's last digits depend on how many faces share the batch.
    ages = (ages_p * years).sum(axis=1)
    deviations = np.sqrt(np.maximum((ages_p * years**2).sum(axis=1) - ages**2, 0.25))
    return [
        Reading(float(age), float(scale * deviation), gender, expression, point.exit, point.size)
        for age, deviation, gender, expression in zip(ages, deviations, outputs.gender, outputs.expression, strict=True)
    ]
