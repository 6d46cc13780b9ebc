"""`bench`: a benchmark by name, each with its own flags, and the exits where none is named."""

from __future__ import annotations

import json

import pytest

from app.cli import build_parser, main
from app.commands.bench import BENCHMARKS
from app.commands.bench import run as bench
from app.compose import load_manifest
from models.manifest import DEFAULT_MODEL


@pytest.mark.parametrize(
    "args",
    [
        ["bench", "--rounds", "1"],
        ["bench", "exits", "--rounds", "10001"],
        ["bench", "front-end", "--faces", "x"],
        ["bench", "front-end", "--frames", "0"],
        ["bench", "crowd", "--minutes", "0"],
    ],
)
def test_nonsense_for_bench_is_refused(args, capsys):
    assert main(args) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "args", [["--faces", "1"], ["exits", "--budget-ms", "20"], ["crowd", "--rounds", "5"], ["scheduler"], ["--json", "j", "crowd"]]
)  # fmt: skip
def test_flags_of_another_benchmark_are_refused(args, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", *args])
    assert ended.value.code == 2 and "error: " in capsys.readouterr().err


def test_bench_alone_measures_the_exits():
    parse = build_parser().parse_args
    assert parse(["bench"]) == parse(["bench", "exits"])
    assert parse(["bench", "--rounds", "20"]) == parse(["bench", "exits", "--rounds", "20"])
    parsed = [parse(["bench", name, *(["clip.mp4"] if name == "footage" else [])]) for name in BENCHMARKS]
    assert {one.run for one in parsed} == {bench}
    assert len({one.measure for one in parsed}) == len(BENCHMARKS)


def test_bench_of_the_exits_names_ratios_and_memory(tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert main(["bench", "exits", "--rounds", "3", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert len(report["rows"]) == len(load_manifest(DEFAULT_MODEL).exits) * 3 and all(
        row["early"] > 0 and row["cut"] > 0 for row in report["rows"]
    )
    assert 0 < report["memory_mb"]["whole"] < report["memory_mb"]["engine"]
    assert "ratio" in capsys.readouterr().out
