"""The model repository, as it is written, and loaded by a real Triton (`make triton` sets one up)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from app.compose import load_manifest
from app.network import remote, watch
from app.network.engine import Unanswered
from app.network.onnx_cpu import CpuEngine
from app.network.remote import RemoteEngine, ServerAddress, made_faces, model_name
from app.network.triton import config, write_repository
from models.manifest import DEFAULT_MODEL
from scheduler.profile import OperatingPoint
from tests.support.broker import free_port
from tests.support.paths import ROOT

MANIFEST = load_manifest(DEFAULT_MODEL)
POINTS = (OperatingPoint("exit_04", 40), OperatingPoint("exit_09+mirror", 96))
PYTHON = ROOT / ".venv-triton" / "bin" / "python"


def test_a_model_for_each_point_that_a_run_may_choose(tmp_path, capsys):
    import onnx

    from app.network.calibrate import candidates

    assert main(["export", "--triton", str(tmp_path / "models")]) == 0
    points = candidates(MANIFEST)
    assert f"wrote {len(points)} models" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "models").iterdir()} == {model_name(MANIFEST, p) for p in points}
    folder = tmp_path / "models" / model_name(MANIFEST, points[-1])
    model = onnx.load(folder / "1" / "model.onnx")
    text = (folder / "config.pbtxt").read_text()
    assert all(f'name: "{o.name}"' in text for o in (*model.graph.input, *model.graph.output))
    assert main(["export", "--triton", str(tmp_path / "models")]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_export_says_what_it_takes(capsys):
    assert main(["export", "--out", "x"]) == 2
    assert "--triton alone" in capsys.readouterr().err


def test_the_configuration_is_one_that_triton_s_own_format_takes():
    """Parsed by the protocol's own message, where tritonclient is installed."""
    pb = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient")
    from google.protobuf import text_format

    parsed = text_format.Parse(config(MANIFEST, POINTS[1]), pb.ModelConfig())
    policy = parsed.dynamic_batching.default_queue_policy
    assert parsed.name.endswith("exit_09_mirror-96") and parsed.backend == "onnxruntime"
    assert list(parsed.input[0].dims) == [96, 96, 3] and parsed.input[0].data_type == pb.TYPE_UINT8
    assert policy.allow_timeout_override and policy.max_queue_size and parsed.dynamic_batching.priority_levels == 2


class Served:
    """A Triton of one's own, in a process group of its own."""

    def __init__(self, repository: Path, scratch: Path) -> None:
        self.port, self._repository = free_port(), repository
        self._environment = os.environ | {"TMPDIR": str(scratch)}
        self.start()

    def start(self) -> None:
        command = [str(PYTHON), str(ROOT / "deploy" / "triton" / "serve.py"), str(self._repository)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], start_new_session=True, env=self._environment
        )

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(20)
        for left in Path("/dev/shm").glob(f"faces-{self.port}-*"):
            left.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def here() -> CpuEngine:
    return CpuEngine(MANIFEST, 1, points=POINTS)


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("needs a Triton: make triton")
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient: pip install -r requirements-server.txt")
    repository = tmp_path_factory.mktemp("triton") / "models"
    write_repository(MANIFEST, POINTS, repository)
    served = Served(repository, tmp_path_factory.mktemp("scratch"))
    yield served
    served.kill()


@pytest.fixture
def engine(triton, here, monkeypatch):
    """However busy this machine is: times decide nothing here."""
    monkeypatch.setattr(remote, "CONNECTING_S", 60.0)
    monkeypatch.setattr(remote, "PATIENCE_S", 60.0)
    monkeypatch.setattr(remote, "SLOWER", 1e9)
    monkeypatch.setattr(watch, "MOST_S", 0.5)
    engine = RemoteEngine(MANIFEST, ServerAddress.parse(f"grpc://127.0.0.1:{triton.port}"), here.outputs, POINTS)
    assert back(engine), engine.text
    yield engine
    engine.close()


def back(engine: RemoteEngine) -> bool:
    thread = engine._watch._thread
    if thread:
        thread.join(120)
    return engine.there


def test_a_real_triton_gives_this_machine_s_answers(engine, here):
    for point in POINTS:
        for n in (1, 7, 33):
            faces = np.random.default_rng(n).integers(0, 256, (n, point.size, point.size, 3), np.uint8)
            theirs, ours = engine.read(point._replace(engine="server"), faces), here.read(point, faces)
            np.testing.assert_allclose([r.age for r in theirs], [r.age for r in ours], atol=0.01)


def test_a_real_triton_refuses_what_waited_too_long(engine):
    """Its queue is stopped by a long batch; what comes behind with little time is refused or given up: late, not gone."""
    point = POINTS[1]._replace(engine="server")
    engine.before(1.0, 1)
    with pytest.raises(Unanswered, match="did not answer within"):
        engine.read(point, made_faces(96).repeat(8, axis=0))
    assert engine.there
    assert len(engine.read(point, made_faces(96))) == 2


def test_hung_killed_and_started_again_a_real_triton_is_taken_back(engine, triton):
    point = POINTS[0]._replace(engine="server")
    triton.signal(signal.SIGSTOP)
    for _ in range(2):
        engine.before(50.0, 0)
        with pytest.raises(Unanswered):
            engine.read(point, made_faces(40))
    assert not engine.there
    triton.signal(signal.SIGCONT)
    assert back(engine) and len(engine.read(point, made_faces(40))) == 2
    triton.kill()
    with pytest.raises(Unanswered):
        engine.read(point, made_faces(40))
    assert not engine.there
    triton.start()
    assert back(engine) and len(engine.read(point, made_faces(40))) == 2
