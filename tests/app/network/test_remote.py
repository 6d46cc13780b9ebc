"""A server that dies, hangs, is slow, refuses, or has another network: what the engine makes of it, over the real wire."""

from __future__ import annotations

import shutil
import sys
import threading

import numpy as np
import pytest

from app.compose import load_manifest
from app.errors import DeviceError, UsageError
from app.network import remote, watch
from app.network.engine import Unanswered
from app.network.onnx_cpu import CpuEngine
from app.network.open import open_engine
from app.network.remote import NEWCOMERS, OTHERS, RemoteEngine, ServerAddress, made_faces
from app.network.watch import FIRST_S, MOST_S, Watch
from models.manifest import DEFAULT_MODEL
from scheduler.profile import OperatingPoint

pytest.importorskip("tritonclient.grpc", reason="needs tritonclient: pip install -r requirements-server.txt")

from tests.support.broker import certificate
from tests.support.kserve import KServe

MANIFEST = load_manifest(DEFAULT_MODEL)
POINT = OperatingPoint("exit_04", 40)
SERVERS = POINT._replace(engine="server")


@pytest.fixture(scope="module")
def here() -> CpuEngine:
    return CpuEngine(MANIFEST, 1, points=[POINT])


@pytest.fixture
def server(here):
    server = KServe(MANIFEST, here)
    yield server
    server.behave = lambda context: None
    server.kill()


@pytest.fixture
def engine(server, here, monkeypatch):
    """However busy this machine is: times decide nothing here."""
    monkeypatch.setattr(remote, "CONNECTING_S", 60.0)
    monkeypatch.setattr(remote, "PATIENCE_S", 60.0)
    monkeypatch.setattr(remote, "SLOWER", 1e9)
    monkeypatch.setattr(watch, "MOST_S", 0.5)
    engine = RemoteEngine(MANIFEST, ServerAddress.parse(server.url), here.outputs, [POINT])
    assert engine.there, engine.text
    yield engine
    engine.close()


def test_a_request_carries_its_time_and_newcomers_come_first(engine, server):
    engine.before(60_000.0, newcomers=1)
    engine.read(SERVERS, made_faces(40))
    engine.before(50_000.0, newcomers=0)
    engine.read(SERVERS, np.concatenate([made_faces(40)] * 10))
    first, *cut = server.asked[-3:]
    assert first.priority == NEWCOMERS and 0 < first.timeout_us <= 60_000_000
    assert [c.faces for c in cut] == [16, 4] and {c.priority for c in cut} == {OTHERS}
    assert all(c.timeout_us <= 50_000_000 for c in cut), "what is cut has the time of the whole"


def test_late_once_it_is_asked_again_late_twice_it_is_out_and_comes_back(engine, server):
    answer = threading.Event()
    server.behave = lambda context: answer.wait(20)
    for there in (True, False):
        engine.before(30.0, 0)
        with pytest.raises(Unanswered, match=r"did not answer within \d+ ms"):
            engine.read(SERVERS, made_faces(40))
        assert engine.there is there
    answer.set()
    assert back(engine)
    assert len(engine.read(SERVERS, made_faces(40))) == 2


def test_killed_it_is_out_at_once_and_started_again_it_is_back(engine, server):
    server.kill()
    with pytest.raises(Unanswered, match="does not answer"):
        engine.read(SERVERS, made_faces(40))
    assert not engine.there
    server.start()
    assert back(engine)


@pytest.mark.parametrize(
    ("code", "text", "out"),
    [
        ("UNAVAILABLE", "Request timeout expired", False),
        ("UNAVAILABLE", "Exceeds maximum queue size", True),
        ("PERMISSION_DENIED", "no", True),
    ],
)
def test_refused(engine, server, code, text, out):
    """Triton refuses what waited too long with UNAVAILABLE: that is late, not gone."""
    import grpc

    server.behave = lambda context: context.abort(grpc.StatusCode[code], text)
    with pytest.raises(Unanswered):
        engine.read(SERVERS, made_faces(40))
    assert engine.there is not out


def test_another_network_is_not_believed(server, here):
    server.change = lambda output: output[:, ::-1]  # old people young
    engine = RemoteEngine(MANIFEST, ServerAddress.parse(server.url), here.outputs, [POINT])
    assert not engine.there and "another network" in engine.text and "export --triton" in engine.text
    engine.close()


def test_a_network_that_is_not_loaded_is_said(server, here):
    other = OperatingPoint("exit_05", 40)
    engine = RemoteEngine(
        MANIFEST, ServerAddress.parse(server.url), CpuEngine(MANIFEST, 1, points=[other]).outputs, [other]
    )
    assert not engine.there and "has not loaded this network" in engine.text
    engine.close()


@pytest.mark.parametrize("change", [lambda o: o[:, :5], lambda o: o * np.nan, lambda o: o[:1]])
def test_nonsense_is_no_answer(engine, server, change):
    server.change = change
    with pytest.raises(Unanswered, match="right model"):
        engine.read(SERVERS, made_faces(40))
    assert not engine.there


def test_a_server_that_is_not_there_yet_is_out_and_no_error(here):
    engine = RemoteEngine(MANIFEST, ServerAddress.parse("grpc://localhost:1"), here.outputs, [POINT])
    assert not engine.there and "does not answer" in engine.text
    engine.close()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_tls(here, tmp_path, monkeypatch):
    """A certificate that nobody knows is not trusted; the environment may say whom to trust."""
    import grpc

    cert, key = certificate(tmp_path)
    server = KServe(MANIFEST, here, grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
    stranger = RemoteEngine(MANIFEST, ServerAddress.parse(server.url), here.outputs, [POINT])
    assert not stranger.there
    stranger.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    friend = RemoteEngine(MANIFEST, ServerAddress.parse(server.url), here.outputs, [POINT])
    assert friend.there, friend.text
    friend.close()
    server.kill()


def test_a_slow_server_is_not_taken_back(engine, server, monkeypatch):
    """Ten times as slow it answers, but too late for any frame."""
    monkeypatch.setattr(remote, "SLOWER", 4.0)
    clock = [0.0]
    engine._clock = lambda: clock[0]
    engine._usual_s = 0.02
    server.behave = lambda context: clock.__setitem__(0, clock[0] + 0.2)
    with pytest.raises(Unanswered, match="takes 200 ms, usual are 20 ms"):
        engine._ask()
    server.behave = lambda context: clock.__setitem__(0, clock[0] + 0.03)
    engine._ask()


def test_tries_are_further_and_further_apart_and_not_all_at_once():
    waits, told = [], []

    def ask() -> None:
        if len(waits) < 10:
            raise Unanswered("still out")

    watch = Watch(ask, lambda: 0.5, lambda: 0.0)
    watch._closing = Waits(waits)
    watch.lost("gone")
    watch._thread.join(10)
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S] and waits[-1] == MOST_S
    assert watch.there and watch.text == "still out" and watch.losses == 1 and not told


class Waits:
    """An event that notes how long it is waited for."""

    def __init__(self, waits: list[float]) -> None:
        self.waits = waits

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False


@pytest.mark.parametrize(
    "url", ["server", "http://server:8001", "grpc://", "grpc://a:b", "grpc://me@host", "grpc://host/x"]
)
def test_an_address_that_makes_no_sense(url):
    with pytest.raises(UsageError, match="--server"):
        ServerAddress.parse(url)


def test_addresses():
    assert str(ServerAddress.parse("grpc://server")) == "grpc://server:8001"
    assert ServerAddress.parse("grpcs://[::1]:9").target == "[::1]:9"


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(DeviceError, match=r"requirements-server\.txt"):
        open_engine(MANIFEST, "cpu", 1, points=[POINT], server="grpc://localhost:1")


def back(engine: RemoteEngine) -> bool:
    """Waits until it is taken back."""
    thread = engine._watch._thread
    thread.join(120)
    return engine.there
