"""The benchmark of an idle kiosk runs as a whole, on its own camera."""

from __future__ import annotations

import json

import pytest

from app.bench import idle
from app.errors import UsageError


def test_both_states_are_measured_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(idle, "WARM_S", 0.5)
    assert idle.bench_idle(2.0, "mobilenet_v1_025", False, tmp_path / "idle.json") == 0
    out, report = capsys.readouterr().out, json.loads((tmp_path / "idle.json").read_text())
    for name, _, most in idle.STATES:
        assert name in out and f"at most {most} %" in out
        assert report[name]["all"] == pytest.approx(sum(report[name]["parts"].values()))
        assert report[name]["fps"] > 0 and report[name]["parts"]["finding faces"] > 0


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="--seconds"):
        idle.bench_idle(0.0, "mobilenet_v1_025", False, None)
