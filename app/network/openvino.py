"""OpenVINO, an extra (requirements-openvino.txt). Each precision is an engine of its own: `calibrate` measures what it is
worth, `bench engines` compares all (docs/reference/engines.md).

A graph serves batches of any size: graphs of one size each would hold the weights several times.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from app.errors import DeviceError, ModelError
from app.network.engine import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from app.network.graphs import Graph
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

# Precision to what the device must be capable of. The first is the engine's plain one.
PRECISIONS = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
MISSING = "OpenVINO is not installed: run `pip install -r requirements-openvino.txt`"


class OpenVinoEngine(LocalEngine):
    """One precision on one device."""

    def __init__(
        self,
        manifest: Manifest,
        threads: int | None = None,
        points: Collection[OperatingPoint] | None = None,
        *,
        device: str = "CPU",
        precision: str = "f32",
    ) -> None:
        """Raises ModelError, and DeviceError where it is absent."""
        self._core, self._device = _core(device), device
        self.name = engine_name(precision)
        self.provider = f"OpenVINO {device}{'' if precision == 'f32' else f' {precision}'}"
        super().__init__(manifest, threads, points=points)
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if device == "CPU":
            # One batch at a time, on as many threads as ONNX Runtime has, bound to no core: others use them, too.
            options |= {"INFERENCE_NUM_THREADS": str(self.threads), "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": "NO"}
        self._options, self._compiled = options, dict[tuple[str, int], Any]()

    def _load(self, graph: Graph) -> dict[tuple[OperatingPoint, int], Any]:
        point = graph.point
        key = point.exit, point.size
        if key not in self._compiled:
            self._compiled[key] = self._compile(point, graph.content)
        self._try(self._compiled[key], point, 1)
        return {(point, bucket): self._compiled[key] for bucket in self.buckets}

    def close(self) -> None:
        super().close()
        self._compiled.clear()

    def _compile(self, point: OperatingPoint, graph: bytes) -> Any:
        try:
            model = self._core.read_model(graph)
            model.reshape({self._manifest.input_name: [-1, point.size, point.size, 3]})
            return self._core.compile_model(model, self._device, self._options).create_infer_request()
        except Exception as error:  # RuntimeError, and what its bindings raise beside it
            raise ModelError(f"OpenVINO does not take {self._manifest.name} at {point}: {error}") from error

    def _run(self, loaded: Any, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        given = loaded.infer([faces])
        return [given[i].copy() for i in range(len(self._manifest.tasks))]  # views of what the next batch writes over


def engine_name(precision: str) -> str:
    """As it stands in operating points."""
    return "openvino" if precision == "f32" else f"openvino-{precision}"


def precisions_of(device: str = "CPU") -> tuple[str, ...]:
    """What a device can compute with. Raises DeviceError."""
    capable = _core(device).get_property(device, "OPTIMIZATION_CAPABILITIES")
    return tuple(p for p, needs in PRECISIONS.items() if needs in capable)


def _core(device: str) -> Any:
    """Raises DeviceError."""
    # Importing OpenVINO reports that to its maker, with an id that it keeps on disk, and has no switch against it. Without
    # the package that reports it does not, and works as well.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise DeviceError(f"{MISSING}, or use `--device cpu`") from error
    try:
        core = openvino.Core()
        known = [d.split(".")[0] for d in core.available_devices]
    except Exception as error:
        raise DeviceError(f"OpenVINO does not work here: {error}. Use `--device cpu`") from error
    if device not in known:
        raise DeviceError(
            f"OpenVINO knows no {device} on this machine, only {', '.join(known) or 'nothing'}: "
            "use `--device openvino`, or install the device's driver"
        )
    return core
