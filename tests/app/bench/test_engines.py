"""The table of `bench engines`, of times that are known."""

from __future__ import annotations

import dataclasses

import pytest

from app.bench.engines import bench_engines, judged, rows_of, table
from app.errors import UsageError
from app.network.several import Several
from tests.support.fakes import FakeEngine, make_profile


def test_ratios_are_to_onnx_runtime_at_the_same_exit_and_size():
    plain = make_profile()
    faster = [
        dataclasses.replace(p, point=p.point._replace(engine="openvino"), median_ms=tuple(t / 2 for t in p.median_ms))
        for p in plain.points
    ]
    profile = dataclasses.replace(plain, points=(*plain.points, *faster))
    points = [p.point for p in profile.points]
    rows = list(rows_of(profile, points, {points[0]: (5.5, 0.0), points[3]: (5.6, 0.1)}))
    assert [r["point"] for r in rows[:2]] == ["exit_07@96", "openvino/exit_07@96"]
    assert rows[0]["ms"][4] == 8.0 and rows[1]["ratio"] == pytest.approx(dict.fromkeys((1, 2, 4, 8, 16), 0.5))
    lines = list(table(rows))
    assert "8.00 ms" in lines[1] and "0.50x" in lines[2] and lines[2].endswith("5.60   0.100")
    assert (
        lines[-1]
        == "openvino over ONNX Runtime, geometric mean of all points: 0.50, 0.50, 0.50, 0.50, 0.50 at 1, 2, 4, 8, 16 faces"
    )


def test_rounds_that_make_no_sense(tmp_path):
    with pytest.raises(UsageError, match="--rounds"):
        bench_engines("mobilenet_v1_075", 1, False, None, None, 10, None)


def test_several_engines_must_differ():
    with pytest.raises(ValueError, match="same operating point"):
        Several([FakeEngine(), FakeEngine()], (1, 2))


def test_without_a_face_there_is_nothing_to_judge(tmp_path):
    from app.compose import load_manifest
    from app.errors import ModelError

    with pytest.raises((UsageError, ModelError)):
        judged(FakeEngine(), load_manifest("mobilenet_v1_075"), tmp_path, None, 3)
