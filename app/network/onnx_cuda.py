"""ONNX Runtime on an NVIDIA GPU.

A session serves one size of batch, and batches are filled up to the next such size: whenever the shape changes, ONNX
Runtime has every convolution planned anew, which takes half a second, and keeps no plan for when the shape comes back
(microsoft/onnxruntime issue 23006; docs/decisions/0027-a-session-per-batch-on-cuda.md).
"""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING, Any

from app.errors import DeviceError, ModelError
from app.network.onnx_cpu import CPU, OnnxEngine, provider_of

if TYPE_CHECKING:
    from app.network.graphs import Graph
    from scheduler.profile import OperatingPoint

CUDA = "CUDAExecutionProvider"
# Each is another session of every point; a GPU takes hardly longer for what they are filled up with.
CUDA_BUCKETS = (1, 8, 32)
# cuDNN's own choice of an algorithm, since trying out several was no faster afterwards. A session of one shape does not
# grow, so no memory is taken ahead, nor the largest workspace that cuDNN could use.
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "cudnn_conv_use_max_workspace": "0",
    "arena_extend_strategy": "kSameAsRequested",
}


class CudaEngine(OnnxEngine):
    """A session for each point and bucket."""

    provider, buckets, pads = CUDA, CUDA_BUCKETS, True
    providers = [(CUDA, CUDA_OPTIONS), CPU]  # noqa: RUF012

    def _begin(self) -> None:
        """Loads the cheapest point, which shows whether CUDA works. Raises ModelError, and DeviceError with a diagnosis."""
        if not cuda_there():
            raise DeviceError(f"{cuda_diagnosis()}, or use `--device cpu`")
        _preload()
        super()._begin()
        self.load(self.points[0])

    def _load(self, graph: Graph) -> dict[tuple[OperatingPoint, int], Any]:
        """Sessions one after another: eight threads together were hardly faster."""
        loaded: dict[tuple[OperatingPoint, int], Any] = {}
        point = graph.point
        try:
            for bucket in self.buckets:
                session = self._session(point, graph.content)
                if provider_of(session) != CUDA:  # ONNX Runtime says nothing
                    raise DeviceError(f"{point} for {bucket} faces ran on the CPU instead of the GPU")
                self._try(session, point, bucket)
                loaded[point, bucket] = session
        except (ModelError, DeviceError) as error:
            ready = len(self._loaded) + len(loaded)
            if not ready:
                raise DeviceError(f"{cuda_diagnosis()}, or use `--device cpu`") from error
            raise DeviceError(
                f"the GPU failed after {ready} of {len(self.points) * len(self.buckets)} sessions were loaded, perhaps for "
                f"lack of memory ({error}). `--exit NAME` needs {len(self.buckets)} sessions, `--device cpu` no GPU"
            ) from error
        return loaded


def _preload() -> None:
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def cuda_there() -> bool:
    """Whether this ONNX Runtime was built with CUDA and the machine has a driver for it."""
    import onnxruntime

    return CUDA in onnxruntime.get_available_providers() and nvidia_driver()


def nvidia_driver() -> bool:
    """Whether the machine has a driver that CUDA programs can load."""
    try:
        ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return False
    return True


def cuda_diagnosis() -> str:
    """Why CUDA does not work here, and what to do; ends where "or use ..." may follow."""
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        return (
            "this ONNX Runtime was built without CUDA: the packages onnxruntime and onnxruntime-gpu exclude each other. "
            "Run `pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu`"
        )
    if not nvidia_driver():
        return "CUDA cannot be used: no NVIDIA driver on this machine (libcuda.so.1 is missing). Install one"
    return (
        "CUDA cannot be used although a driver is there: the CUDA or cuDNN libraries are missing or of another version. "
        'Run `pip install "onnxruntime-gpu[cuda,cudnn]"`'
    )
