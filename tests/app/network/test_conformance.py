"""What every engine keeps to, on the shipped network. Those that this machine lacks are skipped with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from app.compose import load_manifest
from app.errors import DeviceError
from app.network.beside import Beside
from app.network.engine import Engine
from app.network.onnx_cpu import CpuEngine
from app.network.onnx_cuda import CudaEngine
from app.network.openvino import OpenVinoEngine, precisions_of
from app.network.profiles import measured_for
from app.network.remote import RemoteEngine, ServerAddress
from app.network.several import Several
from models.manifest import DEFAULT_MODEL
from scheduler.profile import OperatingPoint

MANIFEST = load_manifest(DEFAULT_MODEL)
POINTS = (OperatingPoint("exit_05", 40), OperatingPoint("exit_12+mirror", 96))


class Kind(NamedTuple):
    """How an engine is made, and how far its answers may be from ONNX Runtime's on the CPU in the mean (a single one: ten times
    as far): years, and probabilities."""

    make: Callable[[], Engine]
    years: float
    share: float


def openvino(precision: str) -> Engine:
    if precision not in precisions_of():
        raise DeviceError(f"this processor has no {precision}")
    return OpenVinoEngine(MANIFEST, 1, POINTS, precision=precision)


def several() -> Engine:
    engines = [CpuEngine(MANIFEST, 1, points=POINTS), OpenVinoEngine(MANIFEST, 1, POINTS)]
    return Several(engines, sorted({n for e in engines for n in measured_for(e)}))


def remote() -> RemoteEngine:
    """Over the wire to a server of this process, which reads on the CPU."""
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient: pip install -r requirements-server.txt")
    from tests.support.kserve import KServe

    here = CpuEngine(MANIFEST, 1, points=POINTS)
    server = KServe(MANIFEST, here)
    engine = RemoteEngine(MANIFEST, ServerAddress.parse(server.url), here.outputs, POINTS)
    assert engine.there, engine.text
    return engine


def beside() -> Beside:
    server = remote()
    return Beside(CpuEngine(MANIFEST, 1, points=POINTS), server, measured_for(server))


KINDS = {
    "ONNX Runtime, CPU": Kind(lambda: CpuEngine(MANIFEST, 1, points=POINTS), 1e-3, 1e-4),
    "ONNX Runtime, CUDA": Kind(lambda: CudaEngine(MANIFEST, 1, points=POINTS), 0.1, 2e-3),
    "OpenVINO, fp32": Kind(lambda: openvino("f32"), 1e-2, 1e-3),
    "OpenVINO, bf16": Kind(lambda: openvino("bf16"), 1.0, 0.05),  # of blobs; of faces see `bench engines`
    "several": Kind(several, 1e-2, 1e-3),
    "server": Kind(remote, 1e-3, 1e-4),
    "beside a server": Kind(beside, 1e-3, 1e-4),
}


@pytest.fixture(scope="module")
def reference() -> CpuEngine:
    return CpuEngine(MANIFEST, 1, points=POINTS)


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> tuple[Kind, Engine]:
    try:
        return KINDS[request.param], KINDS[request.param].make()
    except DeviceError as error:
        pytest.skip(f"{request.param}: {error}")


def crops(n: int, size: int) -> np.ndarray:
    """Grounds of one brightness with a blob: smoother than noise, which no network was made for."""
    chance = np.random.default_rng(n)
    ground = chance.integers(40, 200, (n, 1, 1, 3))
    y, x = np.mgrid[0:size, 0:size] / size
    blob = 60 * np.exp(-((x - 0.5) ** 2 + (y - 0.45) ** 2) / chance.uniform(0.02, 0.2, (n, 1, 1)))
    return np.clip(ground + blob[..., None] + chance.normal(0, 4, (n, size, size, 3)), 0, 255).astype(np.uint8)


def test_it_says_what_it_is(kind):
    _, engine = kind
    assert engine.provider and engine.buckets[0] == 1 and list(engine.buckets) == sorted(set(engine.buckets))
    assert {p._replace(engine="") for p in engine.points} == set(POINTS) and len(set(engine.points)) == len(
        engine.points
    )


def test_a_point_is_ready_when_it_is_loaded(kind):
    _, engine = kind
    for point in engine.points:
        engine.load(point)
        assert point in engine.ready
        engine.load(point)
    assert set(engine.ready) == set(engine.points) and len(engine.ready) == len(engine.points)


def test_batches_of_1_to_33_get_the_same_answers(kind, reference):
    how, engine = kind
    for point in engine.points:
        far = {"age": list[float](), "half": list[float](), "gender": list[float](), "expression": list[float]()}
        for n in range(1, 34) if point.size == 40 else (1, 2, 9, 33):
            faces = crops(n, point.size)
            mine, theirs = engine.read(point, faces), reference.read(point._replace(engine=""), faces)
            assert len(mine) == n and {(r.exit, r.size) for r in mine} == {point[:2]}
            for what, distances in far.items():
                ours, known = ([np.ravel(getattr(r, what)) for r in some] for some in (mine, theirs))
                distances += np.abs(np.concatenate(ours) - np.concatenate(known)).tolist()
        for what, distances in far.items():
            most = how.years if what in ("age", "half") else how.share
            assert np.mean(distances) <= most and max(distances) <= 10 * most, (str(point), what, max(distances))


def test_an_answer_stays_when_the_next_batch_is_read(kind):
    _, engine = kind
    point = engine.points[0]
    first = engine.read(point, crops(3, point.size))
    kept = [r.gender.copy() for r in first]
    engine.read(point, 255 - crops(3, point.size))
    np.testing.assert_array_equal([r.gender for r in first], kept)


def test_what_it_cannot_read_fails_and_spoils_nothing(kind):
    _, engine = kind
    point = engine.points[-1]
    before = engine.read(point, crops(2, point.size))
    for wrong in (crops(2, point.size)[..., :2], np.zeros((2, 7), np.uint8)):
        with pytest.raises(Exception, match=r".") as raised:
            engine.read(point, np.ascontiguousarray(wrong))
        assert not isinstance(raised.value, DeviceError), "the next batch may do"
    with pytest.raises(KeyError):
        engine.read(OperatingPoint("exit_99", 96), crops(1, 96))
    np.testing.assert_allclose(
        [r.age for r in engine.read(point, crops(2, point.size))], [r.age for r in before], atol=1e-3
    )


def test_it_reads_on_another_thread_than_it_was_made_on(kind):
    _, engine = kind
    point, out = engine.points[0], []
    thread = threading.Thread(target=lambda: out.append(engine.read(point, crops(4, point.size))))
    thread.start()
    thread.join(60)
    assert len(out[0]) == 4


def test_closed_it_says_so(kind):
    """The last test here: the engine is gone."""
    _, engine = kind
    engine.close()
    engine.close()
    assert not engine.ready
    engine.load(engine.points[0])
    with pytest.raises(DeviceError, match="was closed"):
        engine.read(engine.points[0], crops(1, engine.points[0].size))
