"""From `--device` to an engine.

auto               CUDA where it works, else the CPU; why not CUDA is said where a driver is there
cpu, cuda          ONNX Runtime there, or an error that says what to do
openvino[:DEVICE]  OpenVINO on its CPU or GPU, in every precision that it has, beside ONNX Runtime on the CPU

With `--server` a server's points stand beside those of any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import DeviceError, UsageError
from app.network.beside import Beside
from app.network.onnx_cpu import CpuEngine
from app.network.onnx_cuda import CudaEngine, cuda_diagnosis, cuda_there, nvidia_driver
from app.network.openvino import OpenVinoEngine, engine_name, precisions_of
from app.network.profiles import measured_for
from app.network.remote import RemoteEngine, ServerAddress
from app.network.several import Several

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from app.network.engine import Engine, Outputs
    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

DEVICES = ("auto", "cpu", "cuda", "openvino", "openvino:CPU", "openvino:GPU")


def open_engine(
    manifest: Manifest,
    device: str = "auto",
    threads: int | None = None,
    *,
    exits: Sequence[str] | None = None,
    points: Collection[OperatingPoint] | None = None,
    server: str | None = None,
) -> Engine:
    """`exits` and `points` limit what it has. Nothing is loaded yet, unless a `server` is asked beside the device: to be
    compared with what is read here. Raises ModelError, DeviceError, and UsageError for a device or address that makes no
    sense."""
    if server:
        return _beside_server(manifest, ServerAddress.parse(server), device, threads, points)
    if device not in DEVICES:
        raise UsageError(f"--device must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}, got {device[:80]!r}")
    kind, _, place = device.partition(":")
    if kind == "openvino":
        return _beside_openvino(manifest, place or "CPU", threads, points)
    if kind == "cuda":
        return CudaEngine(manifest, threads, exits, points)
    note = ""
    if kind == "auto" and cuda_there():
        try:
            return CudaEngine(manifest, threads, exits, points)
        except DeviceError as error:
            note = f"an NVIDIA driver is there, but {error}"
    elif kind == "auto" and nvidia_driver():
        note = f"an NVIDIA driver is there, but {cuda_diagnosis()}"
    engine = CpuEngine(manifest, threads, exits, points)
    engine.note = note
    return engine


def _beside_openvino(
    manifest: Manifest,
    place: str,
    threads: int | None,
    points: Collection[OperatingPoint] | None,
) -> Engine:
    """ONNX Runtime and every precision; of points that name their engine, these engines alone. Raises DeviceError."""
    precisions = precisions_of(place)
    named = {p.engine for p in points or () if p.engine}
    if unknown := named - {engine_name(p) for p in precisions}:
        here = ", ".join(map(engine_name, precisions))
        raise DeviceError(f"there is no {min(unknown)} for the {place} of this machine: it has {here}")
    wanted = [p for p in precisions if not named or engine_name(p) in named]
    engines: list[Engine] = [] if named else [CpuEngine(manifest, threads, None, points)]
    engines += [OpenVinoEngine(manifest, threads, points, device=place, precision=p) for p in wanted]
    if len(engines) == 1:
        return engines[0]
    return Several(engines, sorted({faces for e in engines for faces in measured_for(e)}))


def load_all(engine: Engine, progress: Callable[[int, int], None] | None = None) -> None:
    """For whoever measures: `progress` is called with the points ready, and all. Raises ModelError and DeviceError."""
    for done, point in enumerate(engine.points, start=1):
        engine.load(point)
        if progress:
            progress(done, len(engine.points))


def _beside_server(
    manifest: Manifest,
    address: ServerAddress,
    device: str,
    threads: int | None,
    points: Collection[OperatingPoint] | None,
) -> Engine:
    """The device, whatever engine the points name, and the server with the same points."""
    plain = points and {p._replace(engine="") for p in points}
    local = open_engine(manifest, device, threads, points=plain)

    def here(point: OperatingPoint, faces: NDArray[np.uint8]) -> Outputs:
        twin = next(p for p in local.points if p[:2] == point[:2])
        part = local.part(twin) if isinstance(local, Several) else local
        return part.outputs(twin, faces)

    try:
        remote = RemoteEngine(manifest, address, here, plain)
    except BaseException:
        local.close()
        raise
    return Beside(local, remote, sorted({*measured_for(local), *measured_for(remote)}))
