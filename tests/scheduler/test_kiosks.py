"""Many kiosks before one server, on paper."""

from __future__ import annotations

import dataclasses
import random

import pytest

from app.cli import main
from app.errors import UsageError
from app.reports.sites import Plan, read_round_trips
from scheduler.kiosks import Simulation
from scheduler.site import DEEPEST, FIXED, HERE, OURS, TIMEOUT, WAYS, Figures, Site
from tests.support.fakes import POINTS, make_profile
from tests.support.paths import ROOT

LOGS = ROOT / "docs" / "results" / "logs"


def site(kiosks: int, **changes) -> Site:
    """Kiosks that read a face in 6 to 12 ms, a server that reads 32 in ten."""
    values = {
        "kiosks": kiosks, "here": make_profile((6.0, 9.0, 12.0)), "server": make_profile((0.1, 0.2, 0.3)), "round_trips_ms": [2.0, 3.0, 9.0],
        "faces": [4] * 50, "arrivals": [4] + [0] * 49, "budget_ms": 40.0, "seconds": 2.0,
    }  # fmt: skip
    return Site(**(values | changes))


def outcome(of: Site, how: str) -> Figures:
    return Simulation(of, how, POINTS[2], random.Random(1).random).run()


@pytest.mark.parametrize("how", [DEEPEST, FIXED, TIMEOUT])
def test_a_server_with_time_for_all_reads_for_all(how):
    f = outcome(site(5), how)
    assert f.attainment == 1 and f.read == f.faces and set(f.by) == {"server"} and f.mae == pytest.approx(4.8, abs=0.05)
    assert f.frames == 5 * 50


def test_too_many_kiosks_keep_their_deadline_only_where_they_read_by_themselves_in_time():
    ours, deepest, fixed, timeout, here = (outcome(site(300), how) for how in (OURS, DEEPEST, FIXED, TIMEOUT, HERE))
    assert min(ours.attainment, deepest.attainment) > 0.99 > 0.5 > fixed.attainment
    assert timeout.attainment < 0.5 and timeout.unanswered
    assert deepest.by[""] and deepest.by["server"] and deepest.in_time > 2 * timeout.in_time
    assert set(here.by) == {""} and here.attainment == 1


def test_a_server_that_is_far_too_small_is_not_worse_than_none():
    """Each way by the same rule, and judged by what is shown of everybody, not by the readings that were made."""
    crowd = {"faces": [4] * 200, "arrivals": [4] + [0] * 199, "seconds": 5.0}
    ours, here = outcome(site(100, **crowd), OURS), outcome(site(100, **crowd), HERE)
    assert ours.attainment > 0.99 and ours.mae < here.mae + 0.03 and ours.own_ms < 0.9 * here.own_ms


def test_ours_reads_people_by_their_value():
    ours, deepest = outcome(site(5), OURS), outcome(site(5), DEEPEST)
    assert 5 * 4 <= ours.read < deepest.read / 2 and ours.attainment == 1


def test_the_same_site_gives_the_same_figures():
    assert outcome(site(20), OURS) == outcome(site(20), OURS)


def test_more_workers_read_more():
    one, four = (outcome(site(300, workers=n), FIXED) for n in (1, 4))
    assert four.read > 2 * one.read


def test_a_server_of_another_network_is_refused():
    other = make_profile()
    strange = tuple(dataclasses.replace(p, point=p.point._replace(size=p.point.size + 1)) for p in other.points)
    with pytest.raises(ValueError, match="in common"):
        site(2, server=dataclasses.replace(other, points=strange))


def test_the_command_tells_all_ways(capsys, tmp_path):
    (tmp_path / "ping.txt").write_text("64 bytes from 10.0.0.5: icmp_seq=1 ttl=64 time=0.431 ms\nrtt min/avg = 1\n")
    profiles = ["--profile", str(LOGS / "two-cores-profile.json"), "--server-profile", str(LOGS / "h100-profile.json")]
    few = ["--kiosks", "4", "--seconds", "1", "--crowd", "const:2", "--round-trips", str(tmp_path / "ping.txt")]
    assert main(["simulate", *few, *profiles, "--json", str(tmp_path / "out.json")]) == 0
    out = capsys.readouterr().out
    assert all(way in out for way in WAYS) and (tmp_path / "out.json").stat().st_size
    assert main(["simulate", "--kiosks", "4"]) == 2
    assert "--server-profile" in capsys.readouterr().err


def test_round_trips(tmp_path):
    (tmp_path / "ms").write_text("1.5\n2\n\n")
    assert read_round_trips(tmp_path / "ms") == [1.5, 2.0] and read_round_trips(None) == [0.5]
    (tmp_path / "ms").write_text("soon\n")
    with pytest.raises(UsageError, match="no milliseconds"):
        read_round_trips(tmp_path / "ms")
    with pytest.raises(UsageError, match="--kiosks"):
        Plan(kiosks=0, server=tmp_path)
