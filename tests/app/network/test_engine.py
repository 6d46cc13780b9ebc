"""The real engine on the shipped network."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import json
import shutil
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest

from app.compose import load_manifest
from app.errors import DeviceError, ModelError
from app.network import onnx_cuda
from app.network.calibrate import cached_profile, calibrate, measuring, remember
from app.network.engine import CPU_BUCKETS, readings
from app.network.mending import STEADY_TAIL, Mender
from app.network.onnx_cpu import CPU, CpuEngine
from app.network.onnx_cuda import CUDA, CUDA_BUCKETS, CudaEngine
from app.network.open import load_all, open_engine
from models.manifest import DEFAULT_MODEL, Manifest
from models.manifest import TASKS as HEADS
from models.onnx_file import at_size
from models.session import cpu_session
from scheduler.profile import OperatingPoint
from tests.support.fakes import FakeClock, FakeEngine


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return load_manifest(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def engine(manifest) -> CpuEngine:
    return CpuEngine(manifest)


def crops(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_every_exit_says_what_the_whole_graph_says(manifest, engine):
    model = onnx.load_model_from_string(manifest.verify())
    whole = {size: cpu_session(at_size(model, size).SerializeToString()) for size in manifest.input_sizes}
    for point in engine.points:
        faces = crops(5, point.size)
        names = [manifest.exit(point.exit).output(h) for h in HEADS]
        expected = whole[point.size].run(names, {manifest.input_name: faces})
        if manifest.exit(point.exit).mirrored:
            mirror = whole[point.size].run(names, {manifest.input_name: np.ascontiguousarray(faces[:, :, ::-1])})
            expected = [(a + b) / 2 for a, b in zip(expected, mirror, strict=True)]
        for mine, theirs in zip(engine.outputs(point, faces), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
            np.testing.assert_allclose(mine.sum(axis=1), 1, atol=1e-4)


def test_a_batch_changes_nobodys_answer_and_may_be_larger_than_the_largest_bucket(engine):
    point = engine.points[0]
    faces = crops(2 * CPU_BUCKETS[-1] + 3, point.size)
    together = engine.outputs(point, faces)
    assert len(together.age) == len(faces)
    for i in (0, 17, len(faces) - 1):
        np.testing.assert_allclose(engine.outputs(point, faces[i : i + 1]).age[0], together.age[i], atol=1e-4)


def test_a_shallow_exits_graph_holds_no_deeper_layer(manifest, engine):
    """Stopping early is real: the graph that runs for exit 7 is smaller, in operations and in weights."""
    from onnx.utils import Extractor

    model = onnx.load_model_from_string(manifest.verify())
    nodes = {}
    for one in manifest.exits:
        cut = Extractor(model).extract_model([manifest.input_name], [one.output(h) for h in HEADS])
        nodes[one.block] = sum(n.op_type == "Conv" for n in cut.graph.node)
    # A stem, two convolutions a block, and in exits 4 and 5 two blocks of their own.
    assert nodes == {b: 1 + 2 * b + (4 if b < 7 else 0) for b in nodes}


def test_padding_engines_cut_the_padding_off_again(manifest):
    padding = CpuEngine(manifest, exits=["exit_07"])
    point = padding.points[0]
    faces = crops(3, point.size)
    plain = padding.outputs(point, faces)
    padding.pads = True
    for mine, theirs in zip(padding.outputs(point, faces), plain, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def on_cpu_as_if_cuda(monkeypatch, provider_of) -> None:
    """A GPU is there, and ONNX Runtime says of its sessions what `provider_of` says; they run on the CPU."""
    monkeypatch.setattr(onnx_cuda, "cuda_there", lambda: True)
    monkeypatch.setattr("app.network.open.cuda_there", lambda: True)
    monkeypatch.setattr(onnx_cuda, "nvidia_driver", lambda: True)
    monkeypatch.setattr(CudaEngine, "providers", [CPU])
    monkeypatch.setattr(onnx_cuda, "provider_of", provider_of)


def test_on_cuda_every_batch_has_a_session_of_its_own(manifest, monkeypatch):
    """What ONNX Runtime says of its sessions is the only thing here that differs from a GPU: shapes never change in one."""
    on_cpu_as_if_cuda(monkeypatch, lambda session: CUDA)
    heard, shapes = [], {}
    apart = CudaEngine(manifest, exits=["exit_07"])
    assert apart.ready == apart.points[:1], "the cheapest shows whether CUDA works"
    load_all(apart, lambda done, total: heard.append((done, total)))
    assert apart.pads and apart.buckets == CUDA_BUCKETS
    expected = len(apart.points) * len(apart.buckets)
    assert len({id(s) for s in apart._loaded.values()}) == expected == len(apart._loaded)
    assert heard == [(i, len(apart.points)) for i in range(1, len(apart.points) + 1)]
    for (point, bucket), session in apart._loaded.items():
        watched = Watched(session, shapes.setdefault((point, bucket), set()))
        apart._loaded[point, bucket] = watched
    monkeypatch.undo()
    plain = CpuEngine(manifest, exits=["exit_07"])
    for point in apart.points:
        for faces in (1, 2, 8, 9, 32, 45):
            given = crops(faces, point.size)
            for mine, theirs in zip(apart.outputs(point, given), plain.outputs(point, given), strict=True):
                np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert all(seen == {bucket} for (_, bucket), seen in shapes.items())


def test_a_gpu_that_gives_out_while_loading_keeps_what_it_has(manifest, monkeypatch):
    """ONNX Runtime makes sessions for the CPU, without a word, when the GPU's memory is full."""
    answers = iter([CUDA] * 4)
    on_cpu_as_if_cuda(monkeypatch, lambda _: next(answers, CPU))
    engine = open_engine(manifest, "auto", exits=["exit_07"])
    with pytest.raises(DeviceError, match=r"failed after 4 of 12 .* memory .*--exit NAME"):
        load_all(engine)
    assert engine.ready == engine.points[:1] and engine.provider == CUDA
    assert len(engine.outputs(engine.points[0], crops(3, engine.points[0].size)).age) == 3


def test_points_are_loaded_one_by_one_and_whatever_is_read_first_comes_first(manifest):
    engine = CpuEngine(manifest, points=[OperatingPoint("exit_05", 40), OperatingPoint("exit_04", 40)])
    cheap, dear = engine.points
    assert engine.ready == ()
    engine.load(dear)
    engine.load(dear)
    assert engine.ready == (dear,)
    engine.read(cheap, crops(2, 40))
    assert engine.ready == (dear, cheap) and engine._graphs is None, "the file's graph is let go"
    engine.close()
    engine.load(cheap)
    assert engine.ready == ()


class Watched:
    """A session that remembers how many faces it was given."""

    def __init__(self, session, seen):
        self._session, self._seen = session, seen

    def run(self, outputs, inputs):
        self._seen.add(len(next(iter(inputs.values()))))
        return self._session.run(outputs, inputs)


def test_only_the_exits_asked_for_are_loaded(manifest):
    points = CpuEngine(manifest, exits=["exit_09"]).points
    assert points == tuple(OperatingPoint("exit_09", size) for size in manifest.input_sizes)


def test_readings_are_expectations_with_calibrated_intervals(manifest, engine):
    point = engine.points[-1]
    outputs = engine.outputs(point, crops(4, point.size))
    for i, reading in enumerate(readings(manifest, point, outputs)):
        assert reading.age == pytest.approx(float(outputs.age[i] @ np.arange(101)), abs=1e-3)
        assert 0 < reading.half < 60 and reading.exit == point.exit


def has_cuda() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_cuda(), reason="this machine has an NVIDIA driver")
def test_cuda_on_a_machine_without_it_is_diagnosed(manifest):
    with pytest.raises(DeviceError, match=r"no NVIDIA driver.*--device cpu"):
        open_engine(manifest, "cuda")


def test_auto_says_which_provider_it_got(manifest):
    assert open_engine(manifest, "auto", exits=["exit_07"]).provider in onnxruntime.get_available_providers()


def test_a_silent_fallback_to_the_cpu_is_found_out(manifest, monkeypatch):
    """A driver is there and CUDA was asked for, but the sessions run on the CPU."""
    on_cpu_as_if_cuda(monkeypatch, lambda session: CPU)
    with pytest.raises(DeviceError, match="cudnn"):
        open_engine(manifest, "cuda", exits=["exit_07"])
    assert "cudnn" in open_engine(manifest, "auto", exits=["exit_07"]).note


def test_a_network_that_is_none_is_a_clear_error(manifest, tmp_path):
    import hashlib

    for content in (b"", b"no network"):
        (tmp_path / "x.onnx").write_bytes(content)
        wrong = dataclasses.replace(manifest, network=tmp_path / "x.onnx", sha256=hashlib.sha256(content).hexdigest())
        with pytest.raises(ModelError):
            load_all(CpuEngine(wrong))


def test_a_network_of_another_manifest_is_a_clear_error(manifest, tmp_path):
    shutil.copy(manifest.network, tmp_path / "other.onnx")
    values = json.loads(manifest.network.with_suffix(".json").read_text())
    values["network"]["file"] = "other.onnx"
    values["exits"][0]["name"] = "exit_06"
    del values["mirrored"]
    (tmp_path / "other.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="exit_06"):
        load_all(CpuEngine(Manifest.read(tmp_path / "other.json")))


def test_calibration_finds_medians_on_the_clock_that_it_is_given(manifest):
    clock = FakeClock()
    fake = FakeEngine(clock, lambda p, n: n * float(p.exit[-2:]))
    profile = calibrate(fake, manifest, clock=clock, rounds=3)
    for point in fake.points:
        for n in (1, 4, 16):
            assert profile.median_ms(point, n) == pytest.approx(n * float(point.exit[-2:]))
        assert profile.mae(point) == manifest.exit(point.exit).validation[96]["mae"]
    assert profile.tail == pytest.approx(1.0)


def test_depth_is_put_in_order_among_plain_and_among_mirrored_exits(manifest):
    """Mirrored exit 4 is quicker than plain exit 13, whatever their names' order says."""
    clock = FakeClock()
    points = [OperatingPoint(f"exit_{k}{m}", 96) for m in ("", "+mirror") for k in ("04", "13")]
    times = dict(zip(points, (1.0, 5.0, 2.0, 10.0), strict=True))
    fake = FakeEngine(clock, lambda p, n: n * times[p])
    fake.points = tuple(points)
    profile = calibrate(fake, manifest, clock=clock, rounds=3)
    assert [profile.median_ms(p, 1) for p in points] == pytest.approx(list(times.values()))


def test_a_slow_machine_is_calibrated_in_fewer_rounds(manifest):
    clock = FakeClock()
    fake = FakeEngine(clock, lambda *_: 500.0)
    calibrate(fake, manifest, clock=clock, rounds=50, max_s=6.0)
    assert len(fake.runs) == 3 * len(fake.points) * len(fake.buckets)


def test_runs_in_slow_moments_do_not_count(manifest):
    """Unless nearly all are slow: a profile must have something to say."""
    clock, now = FakeClock(), itertools.cycle((0.0, 0.0, 7.0))

    class Slow:
        factor = 1.0

        def __call__(self) -> float:
            said = next(now)
            self.factor = said or 1.0
            return said

    moment = Slow()
    fake = FakeEngine(clock, lambda p, n: n * float(p.exit[-2:]) * moment.factor)
    profile = calibrate(fake, manifest, clock=clock, rounds=6, probe=moment, max_s=1e9)
    assert profile.tail == pytest.approx(1.0)
    assert all(profile.median_ms(p, 4) == pytest.approx(4 * float(p.exit[-2:])) for p in fake.points)
    now = itertools.repeat(7.0)
    profile = calibrate(fake, manifest, clock=clock, rounds=3, probe=moment, max_s=1e9)
    assert all(profile.median_ms(p, 4) == pytest.approx(28 * float(p.exit[-2:])) for p in fake.points)


def test_profiles_are_remembered_per_network_and_threads(manifest, tmp_path):
    fake, measured = FakeEngine(FakeClock()), []

    def measure():
        measured.append(1)
        return calibrate(fake, manifest, clock=lambda: float(len(fake.runs)), rounds=1)

    first, remembered = cached_profile(tmp_path, fake, manifest, 2, measure)
    assert not remembered
    assert cached_profile(tmp_path, fake, manifest, 2, measure) == (first, True)
    assert cached_profile(tmp_path, fake, manifest, 4, measure)[1] is False
    assert cached_profile(tmp_path, fake, dataclasses.replace(manifest, sha256="other"), 2, measure)[1] is False
    assert cached_profile(tmp_path, fake, manifest, 2, measure, again=True)[1] is False
    for file in tmp_path.iterdir():
        file.write_text("{}")
    assert cached_profile(tmp_path, fake, manifest, 2, measure)[1] is False
    assert len(measured) == 5
    assert cached_profile(tmp_path / "file" / "no", fake, manifest, 2, measure)[1] is False


@pytest.mark.parametrize(
    "change", [{"genders": ("male", "female", "other")}, {"expressions": ("happy", "sad")}, {"input_name": "pictures"}]
)
def test_a_manifest_that_promises_something_else_is_refused(manifest, change):
    with pytest.raises(ModelError, match="manifest"):
        load_all(CpuEngine(dataclasses.replace(manifest, **change), exits=["exit_07"]))


def test_a_profile_that_was_measured_beside_other_work_is_kept_and_mended(manifest, tmp_path):
    ticks, jerky = iter(range(10**6)), [True]
    fake = FakeEngine(FakeClock())

    def clock() -> float:
        n = next(ticks)
        return n + (5.0 if jerky[0] and n % 7 == 0 else 0.0)

    measure = partial(measuring, fake, manifest, clock=clock, rounds=3)
    first, _ = cached_profile(tmp_path, fake, manifest, 2, lambda: calibrate(fake, manifest, clock=clock, max_s=1e9))
    assert first.tail > STEADY_TAIL
    assert cached_profile(tmp_path, fake, manifest, 2, pytest.fail) == (first, True), "the next start is quick"

    (path,) = tmp_path.iterdir()
    mend = Mender(measure, lambda profile: remember(path, profile, fake, manifest, 2), clock=FakeClock())
    before = len(fake.runs)
    mend(busy=True)
    assert len(fake.runs) == before, "nobody who is in view has to wait"
    whole = 4 * len(fake.points) * len(fake.buckets) + 1
    for _ in range(whole):
        mend()
    assert cached_profile(tmp_path, fake, manifest, 2, pytest.fail)[0] == first, "no better than before"
    jerky[0] = False
    for _ in range(whole):
        mend()
    mended, _ = cached_profile(tmp_path, fake, manifest, 2, pytest.fail)
    assert mended.tail <= STEADY_TAIL and mended != first
    runs = len(fake.runs)
    mend()
    assert len(fake.runs) == runs, "and that was it"


def test_without_a_profile_it_is_measured_beside_the_run_once_all_is_loaded(manifest):
    now, loaded, done = FakeClock(), [False], []
    fake = FakeEngine(now, lambda p, n: 4.0 * n)
    measure = partial(measuring, fake, manifest, clock=now, rounds=3)
    mend = Mender(measure, done.append, missing=True, may_begin=lambda: loaded[0], clock=now)
    mend(busy=True)
    assert not fake.runs
    loaded[0] = True
    mend(busy=True)
    assert [n for _, n in fake.runs] == [1, 2], (
        "4 and 8 ms: a frame that comes meanwhile waits no longer than for one batch"
    )
    while not done:
        mend(busy=True)
    assert {p.point for p in done[0].points} == {*fake.points} and done[0].median_ms(
        fake.points[0], 4
    ) == pytest.approx(16)
