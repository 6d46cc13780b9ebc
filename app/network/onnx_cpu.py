"""ONNX Runtime on the CPU. All sessions of the process share one thread pool and one arena, or they would slow each other
down and each keep its own scratch memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import ModelError
from app.network.engine import LocalEngine
from app.network.graphs import heads_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.network.graphs import Graph
    from scheduler.profile import OperatingPoint

CPU = "CPUExecutionProvider"


class OnnxEngine(LocalEngine):
    """What ONNX Runtime's engines have in common."""

    providers: list[Any] = [CPU]  # noqa: RUF012 - as ONNX Runtime takes them

    def _begin(self) -> None:
        self._heads = {p.exit: heads_of(self._manifest, p.exit) for p in self.points}
        _share_pool_and_arena(self.threads)

    def _run(self, loaded: Any, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return loaded.run(self._heads[point.exit], {self._manifest.input_name: faces})

    def _session(self, point: OperatingPoint, graph: bytes) -> Any:
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(graph, session_options(), providers=self.providers)
        except Exception as error:  # ONNX Runtime raises a dozen types of its own
            raise ModelError(f"{self._manifest.name} does not fit its manifest at {point}: {error}") from error


class CpuEngine(OnnxEngine):
    """A session for each exit and set of parameters, for batches of any size."""

    provider = CPU

    def _begin(self) -> None:
        super()._begin()
        self._sessions: dict[tuple[str, int], Any] = {}

    def _load(self, graph: Graph) -> dict[tuple[OperatingPoint, int], Any]:
        point, network, content = graph
        key = point.exit, network
        if key not in self._sessions:
            self._sessions[key] = self._session(point, content)
        self._try(self._sessions[key], point, 1)
        return {(point, bucket): self._sessions[key] for bucket in self.buckets}

    def close(self) -> None:
        super().close()
        self._sessions.clear()


_ready = False


def _share_pool_and_arena(threads: int) -> None:
    """Once per process, before the first session."""
    import onnxruntime

    global _ready
    if _ready:
        return
    _ready = True
    onnxruntime.disable_telemetry_events()  # on Windows; elsewhere app/__init__.py has seen to it
    onnxruntime.set_default_logger_severity(4)
    onnxruntime.set_global_thread_pool_sizes(threads, 1)
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(memory, None)


def session_options() -> Any:
    """Options of every session here: the process-wide thread pool and arena, no chatter."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 4
    return options


def provider_of(session: Any) -> str:
    """What a session really runs on: ONNX Runtime falls back to the CPU without a word."""
    return str(session.get_providers()[0])
