"""The one shipped file, cut in memory into a graph for each operating point.

Inference engines compute a whole graph even when one early output is asked for. Graphs of exits whose input sizes share all
parameters are shared, too. Cut graphs beat a chain of segments by a fifth to a third in time; what they cost in memory is
printed by `main.py bench exits` (docs/decisions/0002-prefix-graphs.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.errors import ModelError
from models.manifest import ManifestError
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from models.manifest import Manifest


class Graph(NamedTuple):
    """A point's part of the network. Points of one exit and `network` have the same."""

    point: OperatingPoint
    network: int  # the input size whose parameters it has; 0 for what several sizes share
    content: bytes


def heads_of(manifest: Manifest, exit: str) -> list[str]:
    """The names of an exit's outputs, in the order of the manifest's tasks."""
    return [manifest.exit(exit).output(task) for task in manifest.tasks]


def points_of(
    manifest: Manifest, exits: Sequence[str] | None, points: Collection[OperatingPoint] | None, engine: str = ""
) -> tuple[OperatingPoint, ...]:
    """A network's operating points on an engine, limited to those exits and points, whatever engine these name.

    Raises ModelError where none is left.
    """
    plain = {p._replace(engine="") for p in points} if points is not None else None
    every = (OperatingPoint(e.name, s) for e in manifest.variants for s in manifest.input_sizes if s in e.multiply_adds)
    chosen = [
        p._replace(engine=engine) for p in every if (exits is None or p.exit in exits) and (plain is None or p in plain)
    ]
    if not chosen:
        raise ModelError(f"{manifest.name} has none of the exits asked for")
    return tuple(chosen)


class Graphs:
    """A network's graphs, each cut when it is asked for. Holds the file, and what it cut; one thread at a time."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises ModelError where the file is none, or not the manifest's."""
        import onnx

        from models.onnx_file import sizes_apart

        self._manifest = manifest
        try:
            self._model = onnx.load_model_from_string(manifest.verify())
        except ManifestError as error:
            raise ModelError(str(error)) from error
        except Exception as error:  # protobuf's DecodeError is not exported by onnx
            raise ModelError(f"network {manifest.network} is not an ONNX file: {error}") from error
        try:
            self._apart = sizes_apart(self._model)
        except (ValueError, TypeError) as error:
            raise ModelError(f"network {manifest.network}: {error}") from error
        self._networks: dict[int, Any] = {}
        self._cut: dict[tuple[str, int], bytes] = {}

    def __call__(self, point: OperatingPoint) -> Graph:
        """Raises ModelError."""
        network = point.size if point.size in self._apart else 0
        key = point.exit, network
        if key not in self._cut:
            self._cut[key] = self._graph(point, network)
        return Graph(point, network, self._cut[key])

    def _graph(self, point: OperatingPoint, network: int) -> bytes:
        from models.onnx_file import at_size, cut, mirrored

        manifest = self._manifest
        one = manifest.exit(point.exit)
        try:
            if network not in self._networks:
                self._networks[network] = at_size(self._model, network)
            graph = cut(self._networks[network], [manifest.input_name], heads_of(manifest, one.name))
            return mirrored(graph) if one.mirrored else graph
        except Exception as error:  # onnx raises several types of its own
            raise ModelError(f"{manifest.name} does not fit its manifest at {point}: {error}") from error
