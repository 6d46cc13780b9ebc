"""`bench server`, short, against a server of this process."""

from __future__ import annotations

import dataclasses
import json

import pytest

from app.bench.server import BUDGET_MS, SHARE, Task, fixed_point, weaker
from app.cli import main
from app.compose import load_manifest
from app.errors import UsageError
from app.network.calibrate import candidates
from app.network.onnx_cpu import CpuEngine
from models.manifest import DEFAULT_MODEL
from scheduler.places import SERVER
from scheduler.site import WAYS
from tests.support.fakes import POINTS, make_profile


def test_every_way_is_measured(tmp_path, capsys):
    pytest.importorskip("tritonclient.grpc", reason="needs tritonclient: pip install -r requirements-server.txt")
    from tests.support.kserve import KServe

    manifest = load_manifest(DEFAULT_MODEL)
    server = KServe(manifest, CpuEngine(manifest, 1, points=candidates(manifest)))
    try:
        few = ["--clients", "2", "--faces", "1", "--seconds", "0.5", "--json", str(tmp_path / "out.json")]
        assert main(["bench", "server", "--server", server.url, *few]) == 0
    finally:
        server.kill()
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [r["way"] for r in rows] == list(WAYS)
    assert all(r["frames"] == 2 * 12 and 0 <= r["in_time"] <= 1 for r in rows)
    assert rows[-1]["by_server"] == 0 and "in time" in capsys.readouterr().out


def both():
    mine = make_profile()
    away = [dataclasses.replace(p, point=p.point._replace(engine=SERVER)) for p in mine.points]
    return dataclasses.replace(mine, points=(*mine.points, *away))


def test_the_fixed_exit_is_one_that_fits_while_nobody_else_asks():
    profile = both()
    assert fixed_point(profile, 1) == POINTS[2]._replace(engine=SERVER)
    for faces in (6, 8, 16):
        point = fixed_point(profile, faces)
        deeper = [p.point for p in profile.points if p.point.engine and p.error < profile.error(point)]
        assert all(profile.median_ms(p, faces) > SHARE * BUDGET_MS for p in deeper)
    assert fixed_point(profile, 30) == POINTS[0]._replace(engine=SERVER), "nothing fits: the quickest"


def test_a_weak_kiosk_has_a_server_as_it_was():
    weak, profile = weaker(both(), 4), both()
    assert weak.median_ms(POINTS[0], 1) == 4 * profile.median_ms(POINTS[0], 1)
    assert weak.median_ms(POINTS[0]._replace(engine=SERVER), 1) == profile.median_ms(POINTS[0], 1)


@pytest.mark.parametrize(
    "changes", [{"clients": [0]}, {"faces": [99]}, {"seconds": 0.0}, {"slower": 0.0}], ids=lambda c: next(iter(c))
)
def test_nonsense_is_refused(changes):
    with pytest.raises(UsageError, match=f"--{next(iter(changes))}"):
        Task(**({"clients": [1], "faces": [1], "seconds": 1.0} | changes))


def test_numbers_with_commas(capsys):
    assert main(["bench", "server", "--clients", "many"]) == 2
    assert "with commas between" in capsys.readouterr().err
