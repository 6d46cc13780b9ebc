"""Runs a batch of aligned faces up to an operating point's exit.

ONNX Runtime computes a whole graph even when one early output is asked for, so the one shipped file is cut, in memory,
into a graph per operating point (per exit where input sizes share all parameters). Cut graphs beat a chain of segments by
a fifth to a third in time; what they cost in memory is printed by `main.py bench exits`
(docs/decisions/0002-prefix-graphs.md). All sessions share one thread pool and one arena, or they would slow each other
down and each keep its own scratch memory.

On CUDA a session serves one size of batch, and batches are filled up to the next such size: whenever the shape changes, ONNX
Runtime has every convolution planned anew, which takes half a second, and keeps no plan for when the shape comes back
(microsoft/onnxruntime issue 23006; docs/decisions/0027-a-session-per-batch-on-cuda.md).

`Engine` is a seam: nothing outside this module may assume that inference is local.
"""

from __future__ import annotations

import ctypes
import platform
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.domain import Reading
from app.errors import DeviceError, ModelError
from app.network.cores import available_cores
from models.manifest import Manifest, ManifestError
from scheduler.latency import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

HEADS = ("age", "gender", "expression")
AGE_CLASSES = 101
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CPU_BUCKETS = (1, 2, 4, 8, 16)
CUDA_BUCKETS = (
    1,
    8,
    32,
)  # each is another session of every point; a GPU takes hardly longer for what they are filled up with


class Outputs(NamedTuple):
    """Probabilities for n faces: age (n, 101), gender (n, 2), expression (n, 7)."""

    age: NDArray[np.float32]
    gender: NDArray[np.float32]
    expression: NDArray[np.float32]


class Engine(Protocol):
    provider: str  # the one that really runs
    note: str  # why it is another one than one would expect; "" where there is nothing to say
    points: tuple[OperatingPoint, ...]
    buckets: tuple[int, ...]
    pads: bool  # batches are filled up to the next bucket

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        """Reads (n, s, s, 3) uint8 RGB crops, n >= 1, s = point.size. More than the largest bucket go in several runs."""
        ...


def bucket_of(buckets: Sequence[int], faces: int) -> int:
    """The smallest bucket that holds so many faces, or the largest."""
    return next((b for b in buckets if b >= faces), buckets[-1])


def default_threads() -> int:
    """One core is left to the front end and the window: ONNX Runtime's workers spin between frames as if they were alone
    (docs/decisions/0008-one-core-is-left-alone.md)."""
    return max(1, available_cores() - 1)


class OnnxEngine:
    """ONNX Runtime on the CPU or on CUDA, weights from a verified file."""

    def __init__(
        self,
        manifest: Manifest,
        device: str = "auto",
        threads: int | None = None,
        exits: Sequence[str] | None = None,
        points: Collection[OperatingPoint] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`exits` and `points` limit what is loaded; `progress` hears how many points of how many are ready, where that takes
        long (CUDA). Raises ModelError and DeviceError."""
        import onnx
        import onnxruntime

        self.threads = threads or default_threads()
        wanted, self.note = _providers(onnxruntime, device)
        self.providers = wanted  # as ONNX Runtime takes them
        try:
            model = onnx.load_model_from_string(manifest.verify())
        except ManifestError as error:
            raise ModelError(str(error)) from error
        except Exception as error:  # protobuf's DecodeError is not exported by onnx
            raise ModelError(f"network {manifest.network} is not an ONNX file: {error}") from error
        _share_pool_and_arena(onnxruntime, self.threads)
        self._manifest = manifest
        self._names = {e.name: [e.output(head) for head in HEADS] for e in manifest.variants}
        chosen = [
            p
            for p in (
                OperatingPoint(e.name, s)
                for e in manifest.variants
                for s in manifest.input_sizes
                if s in e.multiply_adds
            )
            if (exits is None or p.exit in exits) and (points is None or p in points)
        ]
        if not chosen:
            raise ModelError(f"{manifest.name} has none of the exits asked for")
        self.points = tuple(chosen)
        self._sessions: dict[tuple[OperatingPoint, int], Any] = {}  # of each point and bucket
        self._load(model, device, progress)
        self._check_provider(device)

    def _graphs(self, model: Any) -> Iterator[tuple[OperatingPoint, int, bytes]]:
        """Each point, its part of the network, and the size whose parameters that has; 0 for what several sizes share."""
        from models.onnx_file import at_size, cut, mirrored, sizes_apart

        manifest = self._manifest
        try:
            apart = sizes_apart(model)
            networks = {size: at_size(model, size) for size in apart | {0}}
        except (ValueError, TypeError) as error:
            raise ModelError(f"network {manifest.network}: {error}") from error
        for one in manifest.variants:
            known: dict[int, bytes] = {}
            for point in (p for p in self.points if p.exit == one.name):
                network = point.size if point.size in apart else 0
                if network not in known:
                    try:
                        graph = cut(networks[network], [manifest.input_name], self._names[one.name])
                        known[network] = mirrored(graph) if one.mirrored else graph
                    except Exception as error:  # onnx raises several types of its own
                        raise ModelError(f"{manifest.name} does not fit its manifest at {point}: {error}") from error
                yield point, network, known[network]

    def _load(self, model: Any, device: str, progress: Callable[[int, int], None] | None) -> None:
        """Fills `_sessions`: one for all batches, or on CUDA one for each. Which it is, the first session tells.

        Where CUDA gives out on the way, `auto` takes the CPU.
        """
        graphs = self._graphs(model)
        point, network, graph = next(graphs)
        graphs = chain([(point, network, graph)], graphs)
        shared = {(point.exit, network): self._session(point, graph)}
        self.pads = _provider_of(shared[point.exit, network]) == PROVIDERS["cuda"]
        self.buckets = CUDA_BUCKETS if self.pads else CPU_BUCKETS
        if not self.pads:
            for done, (point, network, graph) in enumerate(graphs, start=1):
                if progress:
                    progress(done, len(self.points))
                if (point.exit, network) not in shared:
                    shared[point.exit, network] = self._session(point, graph)
                self._try(shared[point.exit, network], point, 1)
                self._sessions |= {(point, bucket): shared[point.exit, network] for bucket in self.buckets}
            return
        shared.clear()
        try:
            self._load_apart(graphs, progress)
        except (ModelError, DeviceError) as error:
            ready = len(self._sessions)
            self._sessions.clear()
            message = (
                f"the GPU gave out when {ready} of {len(self.points) * len(self.buckets)} sessions were loaded, perhaps for "
                f"lack of memory ({error})"
            )
            if device == "cuda":
                raise DeviceError(
                    f"{message}. `--exit NAME` needs {len(self.buckets)} sessions, `--device cpu` no GPU"
                ) from error
            self.note, self.providers = message, [PROVIDERS["cpu"]]
            self._load(model, "cpu", None)

    def _load_apart(
        self, graphs: Iterator[tuple[OperatingPoint, int, bytes]], progress: Callable[[int, int], None] | None
    ) -> None:
        """One after another: eight threads together were hardly faster."""
        for done, (point, _, graph) in enumerate(graphs, start=1):
            for bucket in self.buckets:
                session = self._session(point, graph)
                self._try(session, point, bucket)
                if _provider_of(session) != PROVIDERS["cuda"]:  # ONNX Runtime says nothing
                    raise DeviceError(f"{point} for {bucket} faces came to run on the CPU")
                self._sessions[point, bucket] = session
            if progress:
                progress(done, len(self.points))

    def _session(self, point: OperatingPoint, graph: bytes) -> Any:
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(graph, session_options(), providers=self.providers)
        except Exception as error:  # ONNX Runtime raises a dozen types of its own
            raise ModelError(f"{self._manifest.name} does not fit its manifest at {point}: {error}") from error

    def _check_provider(self, device: str) -> None:
        """Asks the sessions what they got: ONNX Runtime falls back to the CPU without a word."""
        got = {_provider_of(s) for s in self._sessions.values()}
        self.provider = got.pop() if len(got) == 1 else PROVIDERS["cpu"]
        if self.provider == PROVIDERS["cpu"] and device == "cuda":
            raise DeviceError(cuda_diagnosis())
        if self.provider == PROVIDERS["cpu"] and device == "auto" and not self.note and nvidia_driver():
            self.note = "an NVIDIA driver is there, but " + cuda_diagnosis()

    def _try(self, session: Any, point: OperatingPoint, faces: int) -> None:
        """Blank faces through a point must give what the manifest promises."""
        manifest = self._manifest
        blank = np.zeros((faces, point.size, point.size, 3), np.uint8)
        promised = [(faces, AGE_CLASSES), (faces, len(manifest.genders)), (faces, len(manifest.expressions))]
        try:
            given = session.run(self._names[point.exit], {manifest.input_name: blank})
        except Exception as error:  # ONNX Runtime raises a dozen types of its own
            raise ModelError(f"{manifest.name} does not take its manifest's input at {point}: {error}") from error
        if [o.shape for o in given] != promised or not all(np.isfinite(o).all() for o in given):
            raise ModelError(
                f"{manifest.name} does not fit its manifest at {point}: finite outputs of {promised} are promised, "
                f"it gives {[o.shape for o in given]}"
            )

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        return readings(self._manifest, point, self.outputs(point, faces))

    def outputs(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> Outputs:
        """What `read` makes its readings of."""
        largest = self.buckets[-1]
        if len(faces) > largest:
            parts = [self.outputs(point, faces[i : i + largest]) for i in range(0, len(faces), largest)]
            return Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        n = len(faces)
        bucket = bucket_of(self.buckets, n)
        if self.pads and bucket > n:
            faces = np.concatenate([faces, np.repeat(faces[:1], bucket - n, axis=0)])
        session = self._sessions[point, bucket]
        outputs = session.run(self._names[point.exit], {self._manifest.input_name: faces})
        return Outputs(*(o[:n] for o in outputs))


_ready = False


def _share_pool_and_arena(onnxruntime: Any, threads: int) -> None:
    """Once per process, before the first session."""
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


# cuDNN's own choice of an algorithm, since trying out several was no faster afterwards. A session of one shape does not
# grow, so no memory is taken ahead, nor the largest workspace that cuDNN could use.
CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "cudnn_conv_use_max_workspace": "0",
    "arena_extend_strategy": "kSameAsRequested",
}


def _provider_of(session: Any) -> str:
    return str(session.get_providers()[0])


def _providers(onnxruntime: Any, device: str) -> tuple[list[Any], str]:
    cpu, cuda = PROVIDERS["cpu"], PROVIDERS["cuda"]
    if device == "cpu":
        return [cpu], ""
    there = cuda in onnxruntime.get_available_providers() and nvidia_driver()
    if device == "cuda" and not there:
        raise DeviceError(cuda_diagnosis())
    if not there:
        return [cpu], ""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return [(cuda, CUDA_OPTIONS), cpu], ""


def nvidia_driver() -> bool:
    """Whether the machine has a driver that CUDA programs can load."""
    try:
        ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return False
    return True


def cuda_diagnosis() -> str:
    """Why CUDA does not work here, and what to do."""
    import onnxruntime

    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return (
            "this ONNX Runtime was built without CUDA: the packages onnxruntime and onnxruntime-gpu exclude each other. "
            "Run `pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu`, or use `--device cpu`"
        )
    if not nvidia_driver():
        return (
            "CUDA cannot be used: no NVIDIA driver on this machine (libcuda.so.1 is missing). Install one, "
            "or use `--device cpu`"
        )
    return (
        "CUDA cannot be used although a driver is there: the CUDA or cuDNN libraries are missing or of another version. "
        'Run `pip install "onnxruntime-gpu[cuda,cudnn]"`, or use `--device cpu`'
    )


def readings(manifest: Manifest, point: OperatingPoint, outputs: Outputs) -> list[Reading]:
    """One per face. Age is the expectation over the age classes; the interval was calibrated per exit on held-out faces."""
    scale = manifest.exit(point.exit).interval_scale(point.size)
    years = np.arange(outputs.age.shape[1])
    ages = outputs.age @ years
    deviations = np.sqrt(np.maximum(outputs.age @ years**2 - ages**2, 0.25))
    return [
        Reading(float(age), float(scale * deviation), gender, expression, point.exit, point.size)
        for age, deviation, gender, expression in zip(ages, deviations, outputs.gender, outputs.expression, strict=True)
    ]
