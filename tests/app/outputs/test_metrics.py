"""What Prometheus gets, over a real socket of this machine."""

from __future__ import annotations

import dataclasses
import socket
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cli import main
from app.compose import build
from app.domain import Box, DropCause, Frame, Person, Result, SourceState, SourceStatus
from app.errors import OutputError, UsageError
from app.outputs.metrics import Metrics, parse_address
from app.settings import Settings
from app.totals import Totals
from scheduler.latency import LatencyModel
from tests.support.builders import STATS, estimate
from tests.support.fakes import FakeSource, make_profile


def scrape(metrics: Metrics) -> dict[str, float]:
    with urlopen(f"http://{metrics.address}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        s.name + "".join(f"|{k}={v}" for k, v in sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


@pytest.fixture
def metrics():
    served = Metrics("127.0.0.1", 0)
    yield served
    served.close()


def test_counters_gauges_and_histograms_in_base_units(metrics):
    totals = Totals(frames=7, faces=20, read=15, misses=2, slow=4, reconnects=3, unanswered=2)
    totals.exits.update({"exit_07@96": 3, "exit_13@96": 4})
    totals.drops.update({DropCause.GRAB_FULL: 5, DropCause.NO_BUDGET: 6})
    latency = LatencyModel(make_profile())
    latency.slowdown = 1.5
    source = FakeSource([])
    metrics.watch(
        totals,
        latency,
        [SimpleNamespace(name="", source=source, totals=totals)],
        {"network": "n", "provider": "p", "exit": "auto"},
    )
    for age_ms in (20.0, 30.0, 4000.0):
        people = (Person(7, Box(0, 0, 9, 9), estimate(33.0), True),)
        frame = Frame(0, np.zeros((9, 9, 3), np.uint8), 0.0, 0.0)
        metrics.deliver(
            Result(
                frame, people, dataclasses.replace(STATS, frame_age_ms=age_ms, faces=4, budget_ms=40.0, server=False)
            )
        )
    got = scrape(metrics)
    wanted = {
        "frames_total": 7, "deadline_misses_total": 2, "slow_moments_total": 4, "faces_total": 20, "faces_read_total": 15, "slowdown_ratio": 1.5,
        "dropped_frames_total|cause=grab_full": 5, "dropped_frames_total|cause=video_full": 0, "source_up": 1,
        "unread_faces_total|cause=no_budget": 6, "unread_faces_total|cause=max_faces": 0, "source_reconnects_total": 3,
        "network_batches_total|engine=|exit=exit_07|input_size=96": 3, "faces_in_view": 4, "budget_seconds": 0.04,
        "frame_age_seconds_count": 3, "frame_age_seconds_sum": 4.05, "frame_age_seconds_bucket|le=0.025": 1,
        "frame_age_seconds_bucket|le=2.5": 2, "frame_age_seconds_bucket|le=+Inf": 3,
        "unanswered_batches_total": 2, "server_up": 0, "run_info|exit=auto|network=n|provider=p": 1,
    }  # fmt: skip
    assert {name: got.get(f"elastic_faces_{name}") for name in wanted} == pytest.approx(wanted)
    assert got["process_resident_memory_bytes"] > 1e6
    # Every cause has its counter, and no label speaks of a person.
    assert sum("cause=" in name for name in got) == len(DropCause)
    labels = {part.partition("=")[0] for name in got for part in name.split("|")[1:]}
    assert labels <= {"le", "cause", "exit", "input_size", "engine", "network", "provider"}
    assert not any(word in name for name in got for word in ("|id=", "person", "gender", "expression"))


def test_a_lost_source_has_nobody_in_view(metrics):
    source = FakeSource([])
    metrics.watch(
        Totals(), LatencyModel(make_profile()), [SimpleNamespace(name="", source=source, totals=Totals())], {}
    )
    metrics.deliver(Result(Frame(0, np.zeros((9, 9, 3), np.uint8), 0.0, 0.0), (), STATS))
    assert scrape(metrics)["elastic_faces_faces_in_view"] == STATS.faces
    source.state = SourceStatus(SourceState.LOST)
    got = scrape(metrics)
    assert got["elastic_faces_source_up"] == 0 and "elastic_faces_faces_in_view" not in got


def test_a_run_is_served_until_it_ends(tmp_path):
    from skimage.data import astronaut

    cv2.imwrite(str(tmp_path / "one.png"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    app = build(Settings(source=str(tmp_path / "one.png"), exit="exit_13", show=False, metrics="127.0.0.1:0"))
    app.pipeline.start()
    try:
        assert app.pipeline.wait(60)
        got = scrape(app.metrics)
    finally:
        app.pipeline.close()
    assert got["elastic_faces_frames_total"] == got["elastic_faces_faces_read_total"] == 1
    assert got["elastic_faces_network_batches_total|engine=|exit=exit_13|input_size=96"] == 1
    assert got["elastic_faces_frame_age_seconds_count"] == 1 and app.pipeline.failure is None
    with pytest.raises(URLError):
        urlopen(f"http://{app.metrics.address}/metrics", timeout=5)


def test_the_server_ends_with_the_run_and_its_port_is_free_again(metrics):
    host, port = metrics.address.split(":")
    metrics.close()
    metrics.close()
    with pytest.raises(URLError):
        urlopen(f"http://{metrics.address}/metrics", timeout=5)
    Metrics(host, int(port)).close()


def test_a_busy_port_says_so(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"127.0.0.1:{port}.*in use.*Choose another port"):
            Metrics("127.0.0.1", port)
        assert main(["run", "--source", "demo", "--no-show", "--metrics", f"127.0.0.1:{port}"]) == 6
    assert "another port" in capsys.readouterr().err


def test_only_this_machine_unless_asked():
    for text in ("127.0.0.1:9108", "localhost:9108", "[::1]:9108", "9108", ":9108", "127.8.8.8:9108"):
        assert parse_address(text, public=False)[1] == 9108
    for text in ("0.0.0.0:9108", "[::]:9108", "192.168.1.5:9108", "kiosk.example:9108", "127.0.0.1.example:9108"):
        with pytest.raises(UsageError, match="--metrics-public"):
            parse_address(text, public=False)
        assert parse_address(text, public=True)[1] == 9108
    for text in ("127.0.0.1", "127.0.0.1:", "x:y", "127.0.0.1:70000", "127.0.0.1:-1", "1" * 5000, "127.0.0.1:²"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            parse_address(text, public=True)


def test_an_address_that_this_machine_has_not_says_so():
    for host in ("203.0.113.9", "no-such-host.invalid", "x" * 300):
        with pytest.raises(OutputError, match="metrics cannot be served"):
            Metrics(host, 0)
