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

    Progress = Callable[[int, int], None]

DEVICES = ("auto", "cpu", "cuda", "openvino", "openvino:CPU", "openvino:GPU")


def open_engine(
    manifest: Manifest,
    device: str = "auto",
    threads: int | None = None,
    *,
    exits: Sequence[str] | None = None,
    points: Collection[OperatingPoint] | None = None,
    progress: Progress | None = None,
    server: str | None = None,
) -> Engine:
    """`exits` and `points` limit what is loaded; `progress` hears how many points of how many are ready, where that takes
    long; `server` is asked beside the device. Raises ModelError, DeviceError, and UsageError for a device or address that
    makes no sense."""
    if server:
        return _beside_server(manifest, ServerAddress.parse(server), device, threads, points, progress)
    if device not in DEVICES:
        raise UsageError(f"--device must be {', '.join(DEVICES[:-1])} or {DEVICES[-1]}, got {device[:80]!r}")
    kind, _, place = device.partition(":")
    if kind == "openvino":
        return _beside_openvino(manifest, place or "CPU", threads, points, progress)
    if kind == "cuda":
        return CudaEngine(manifest, threads, exits, points, progress)
    note = ""
    if kind == "auto" and cuda_there():
        try:
            return CudaEngine(manifest, threads, exits, points, progress)
        except DeviceError as error:
            note = f"an NVIDIA driver is there, but {error}"
    elif kind == "auto" and nvidia_driver():
        note = f"an NVIDIA driver is there, but {cuda_diagnosis()}"
    engine = CpuEngine(manifest, threads, exits, points, progress)
    engine.note = note
    return engine


def _beside_openvino(
    manifest: Manifest,
    place: str,
    threads: int | None,
    points: Collection[OperatingPoint] | None,
    progress: Progress | None,
) -> Engine:
    """ONNX Runtime and every precision; of points that name their engine, these engines alone. Raises DeviceError."""
    precisions = precisions_of(place)
    named = {p.engine for p in points or () if p.engine}
    if unknown := named - {engine_name(p) for p in precisions}:
        here = ", ".join(map(engine_name, precisions))
        raise DeviceError(f"there is no {min(unknown)} for the {place} of this machine: it has {here}")
    wanted = [p for p in precisions if not named or engine_name(p) in named]
    engines: list[Engine] = [] if named else [CpuEngine(manifest, threads, None, points)]
    for i, precision in enumerate(wanted):
        part = _part(progress, i, len(wanted))
        engines.append(OpenVinoEngine(manifest, threads, points, part, device=place, precision=precision))
    if len(engines) == 1:
        return engines[0]
    return Several(engines, sorted({faces for e in engines for faces in measured_for(e)}))


def _beside_server(
    manifest: Manifest,
    address: ServerAddress,
    device: str,
    threads: int | None,
    points: Collection[OperatingPoint] | None,
    progress: Progress | None,
) -> Engine:
    """The device, whatever engine the points name, and the server with the same points."""
    plain = points and {p._replace(engine="") for p in points}
    local = open_engine(manifest, device, threads, points=plain, progress=progress)

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


def _part(progress: Progress | None, before: int, parts: int) -> Progress | None:
    """The progress of one of several engines, as a part of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(before * total + done, parts * total)
