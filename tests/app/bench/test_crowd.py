"""The live benchmark: its cells, its log, its figures."""

from __future__ import annotations

import json

import pytest

from app.bench import crowd as bench_crowd
from app.bench.crowd_figures import interval, recovery
from app.cli import main
from scheduler.reading import read_log
from tests.support.fakes import make_record


def test_bench_crowd_measures_every_cell_and_writes_a_log_that_replays(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench_crowd, "HOGS", (0, 1))
    log, out = tmp_path / "l.jsonl", tmp_path / "c.json"
    assert (
        main(["bench", "crowd", "--minutes", "0.1", "--budgets", "33,100", "--json", str(out), "--log", str(log)]) == 0
    )
    cells = json.loads(out.read_text())["cells"]
    assert [(c["budget_ms"], c["hogs"]) for c in cells] == [(33.0, 0), (33.0, 1), (100.0, 0), (100.0, 1)]
    for cell in cells:
        assert 0 <= cell["miss_low"] <= cell["miss_share"] <= cell["miss_high"] <= 1
        assert min(cell["decide_us_p99"], cell["decide_cpu_us_p99"]) > 0 and 0 < cell["read"] <= 1
        assert len(cell["recovery_frames"]) <= (8 if cell["hogs"] else 0), "hogs come twice in each of four crowds"
    frames = read_log(log).frames
    assert any(list(r.batches())[1:] for r in frames), "further batches must be among those that are decided again"
    assert all(c["longest_wait_ms"] <= c["wait_bound_ms"] for c in cells)
    assert main(["replay", str(log)]) == 0
    assert " 0 different" in capsys.readouterr().out
    assert main(["simulate", "--profile", str(log), "--crowd", f"{log}:20", "--noise", str(out), "--frames", "60"]) == 0
    assert "up to 20 faces" in capsys.readouterr().out
    lines = log.read_text().splitlines()
    i = next(i for i, r in enumerate(frames) if len(list(r.batches())) > 1)
    record = json.loads(lines[i + 1])
    record["more"][0]["predicted_ms"] *= 1.5
    log.write_text("\n".join([*lines[: i + 1], json.dumps(record), *lines[i + 2 :]]))
    assert main(["replay", str(log)]) == 1


@pytest.mark.parametrize(
    "options",
    [["--crowd", "zoo"], ["--crowd", "none.jsonl"], ["--minutes", "0"], ["--budgets", "x"], ["--budgets", "0.1"]],
)
def test_nonsense_for_bench_crowd_is_refused(options):
    assert main(["bench", "crowd", *options]) == 2


def test_recovery_counts_the_frames_until_five_in_a_row_are_in_time():
    def records(pattern):
        return [make_record(miss=c == "x") for c in pattern]

    assert recovery(records("......"), 1) == 0
    assert recovery(records(".xx.x....."), 1) == 4
    assert recovery(records("..xxx"), 2) == 3


def test_the_interval_of_a_share_is_clopper_and_pearsons():
    from scipy.stats import binomtest

    for misses, frames in ((0, 100), (3, 100), (100, 100)):
        proportion = binomtest(misses, frames).proportion_ci(0.95, method="exact")
        assert interval(misses, frames) == pytest.approx((proportion.low, proportion.high))
