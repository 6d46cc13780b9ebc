"""The command line as a user meets it: messages, exit codes, files. In a process of its own where signals matter."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.cli import build_parser, main
from app.commands.bench import BENCHMARKS
from tests.support.paths import ROOT


def run(*args: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(ROOT / "main.py"), *map(str, args)],
        capture_output=True, text=True, timeout=120, cwd=ROOT, **more,
    )  # fmt: skip


@pytest.fixture
def clip(tmp_path) -> Path:
    """Ten frames with the astronaut in them."""
    from skimage.data import astronaut

    image = cv2.resize(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR), (320, 320))
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 320))
    for _ in range(10):
        writer.write(image)
    writer.release()
    return tmp_path / "clip.avi"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_over_a_file_writes_what_was_asked_for_and_nothing_else(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert (
        main(
            [
                "run",
                "--source",
                str(clip),
                "--no-show",
                "--results",
                "r.jsonl",
                "--log",
                "l.jsonl",
                "--output",
                "o.mp4",
                "--threads",
                "2",
            ]
        )
        == 0
    )
    assert {p.name for p in set(tmp_path.iterdir()) - before} == {"r.jsonl", "l.jsonl", "o.mp4"}
    results = lines(tmp_path / "r.jsonl")
    assert [r["frame"] for r in results] == list(range(10))
    assert all(len(r["people"]) == 1 and r["people"][0]["id"] == 1 for r in results)
    out = capsys.readouterr().out
    for word in (
        "source ",
        "network ",
        "CPUExecutionProvider",
        "frames ",
        "frame age p50",
        "deadline  none",
        "exits ",
        "first result",
    ):
        assert word in out, word
    assert (
        main(["replay", "l.jsonl", "--budget-ms", "20", "--policy", "auto", "--plot", "p.png", "--json", "p.json"]) == 0
    )
    assert "10 the same, 0 different" in capsys.readouterr().out
    assert cv2.imread("p.png").shape[0] > 300
    report = json.loads(Path("p.json").read_text())
    assert report["different"] == 0 and [r["policy"] for r in report["runs"]] == ["as recorded", "auto"]


def test_a_run_without_outputs_writes_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["run", "--source", str(clip), "--no-show"]) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_twice_the_same_file_is_the_same_results(clip, tmp_path):
    for name in ("a", "b"):
        assert (
            main(["run", "--source", str(clip), "--no-show", "--exit", "exit_10", "--results", str(tmp_path / name)])
            == 0
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {p["exit"] for r in lines(tmp_path / "a") for p in r["people"]} == {"exit_10"}


def test_realtime_plays_a_file_like_a_camera(clip, tmp_path):
    assert main(["run", "--source", str(clip), "--no-show", "--realtime", "--log", str(tmp_path / "l")]) == 0
    records = lines(tmp_path / "l")
    assert records[0]["settings"]["live"] is True
    assert sum(r["type"] in ("frame", "drop") for r in records) == 10


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--source", "nowhere.mp4"], 3, "nowhere.mp4"),
        (["--source", "{tmp}"], 3, "2 of 3 files were not read in full"),
        (["--source", "{tmp}/empty.mp4"], 3, "empty"),
        (["--source", "{tmp}/text.mp4"], 3, "video"),
        (["--source", "97"], 3, "camera|/dev/video97"),
        (["--source", "rtsp://127.0.0.1:9/none"], 3, "127.0.0.1"),
        (["--source", "{tmp}/one.png", "--model", "no_such"], 4, "no_such"),
        (["--source", "{tmp}/one.png", "--model", "{tmp}/text.mp4"], 4, "JSON"),
        (["--source", "{tmp}/one.png", "--model", "x" * 300], 4, "neither"),
        (["--source", "{tmp}/one.png", "--results", "x" * 300], 6, "cannot be written"),
        (["--source", "{tmp}/one.png", "--exit", "exit_99"], 2, "exit_07.*auto"),
        (["--source", "{tmp}/one.png", "--target-fps", "0"], 2, "target-fps"),
        (["--source", "{tmp}/one.png", "--target-fps", "20", "--budget-ms", "5"], 2, "not both"),
        (["--source", "{tmp}/one.png", "--device", "tpu"], 2, "auto, cpu, cuda"),
        (["--source", "{tmp}/one.png", "--max-faces", "0"], 2, "max-faces"),
        (["--source", "{tmp}/one.png", "--results", "{tmp}/no/such/r.jsonl"], 6, "no folder"),
        (["--source", "{tmp}/one.png", "--output", "{tmp}"], 6, "folder"),
        (["--source", "{tmp}/one.png", "--output", "{tmp}/o.txt"], 6, r"\.mp4"),
        (["--config", "{tmp}/none.toml"], 2, "cannot be read"),
    ],
)
def test_bad_input_is_a_message_and_an_exit_code(tmp_path, capsys, args, code, says):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("hello, I am no video\n" * 50)
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert main(["run", "--no-show", *(a.format(tmp=tmp_path) for a in args)]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    import re

    assert re.search(says, err), err
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_failed_start_leaves_an_older_result_alone(tmp_path):
    (tmp_path / "r.jsonl").write_text("last night's work")
    assert main(["run", "--no-show", "--source", "nowhere.mp4", "--results", str(tmp_path / "r.jsonl")]) == 3
    assert (tmp_path / "r.jsonl").read_text() == "last night's work"


def test_a_wrong_video_name_is_found_before_an_older_result_is_replaced(clip, tmp_path):
    (tmp_path / "r.jsonl").write_text("last night's work")
    assert (
        main(["run", "--no-show", "--source", str(clip), "--results", str(tmp_path / "r.jsonl"), "--output", "x.avi"])
        == 6
    )
    assert (tmp_path / "r.jsonl").read_text() == "last night's work"


def test_a_file_name_that_opencv_would_crash_on(clip, tmp_path, capsys):
    odd = os.fsencode(tmp_path) + b"/\xff.avi"
    os.link(clip, odd)
    assert main(["run", "--no-show", "--source", os.fsdecode(odd)]) == 3
    assert "UTF-8" in capsys.readouterr().err


def test_replay_does_not_overwrite_its_log(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--no-show", "--source", str(clip), "--exit", "7@96", "--log", "l"]) == 0
    before = Path("l").read_bytes()
    for args in (["--json", "l"], ["--plot", "./l"], ["--plot", "p.xyz"], ["--plot", "p.png", "--json", "p.png"]):
        assert main(["replay", "l", *args]) == 2
    assert Path("l").read_bytes() == before and not Path("p.png").exists()
    assert main(["run", "--no-show", "--source", str(clip), "--exit", "7@63"]) == 2


def test_an_empty_room_replays_to_valid_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("dark.png", np.zeros((100, 100, 3), np.uint8))
    assert main(["run", "--no-show", "--source", "dark.png", "--log", "l"]) == 0
    assert main(["replay", "l", "--budget-ms", "20", "--json", "j"]) == 0
    assert json.loads(Path("j").read_text(), parse_constant=pytest.fail)["runs"][0]["expected_mae"] is None


def test_a_one_pixel_picture_is_processed(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((1, 1, 3), np.uint8))
    assert main(["run", "--no-show", "--source", str(tmp_path / "one.png"), "--results", str(tmp_path / "r")]) == 0
    assert lines(tmp_path / "r")[0]["people"] == []


def test_replay_of_what_is_no_log_says_so(tmp_path, capsys):
    for content, says in ((b"", "empty"), (b"\x00\xff" * 50, "not text"), (b"{}\n", "not a header")):
        (tmp_path / "log").write_bytes(content)
        assert main(["replay", str(tmp_path / "log")]) == 2
        assert says in capsys.readouterr().err


def test_unknown_options_end_with_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--sauce", "0"])
    assert ended.value.code == 2 and "--sauce" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_complete_files(tmp_path, number):
    """The demo crowd, stopped once results come."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "run", "--source", "demo", "--loop", "--no-show", "--results", str(tmp_path / "r"),
         "--log", str(tmp_path / "l"), "--output", str(tmp_path / "o.mp4")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        # The log is written line by line: a FIFO-like wait without a clock, by reading until ten frames are there.
        while process.poll() is None and (
            not (tmp_path / "l").exists() or (tmp_path / "l").read_bytes().count(b"\n") < 10
        ):
            os.sched_yield()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err and "frames " in out
    assert lines(tmp_path / "r") and lines(tmp_path / "l")
    import av

    with av.open(str(tmp_path / "o.mp4")) as container:
        encoded = sum(1 for _ in container.decode(video=0))
    late = sum(r["type"] == "drop" and r["cause"] == "video_full" for r in lines(tmp_path / "l"))
    assert encoded == len(lines(tmp_path / "r")) - late


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(a for a in parser._actions if getattr(a, "choices", None)).choices


def test_every_command_has_help_with_an_example(capsys):
    commands = commands_of(build_parser())
    assert set(commands) == {
        "log",
        "run",
        "cameras",
        "doctor",
        "config",
        "calibrate",
        "replay",
        "simulate",
        "bench",
        "soak",
        "evaluate",
        "models",
        "card",
        "prepare",
        "train",
        "export",
        "flops",
        "networks",
        "train-follower",
        "train-landmarks",
        "study",
    }
    for name, command in commands.items():
        text = command.format_help()
        assert f"example: main.py {name}" in " ".join(text.split())
        for action in command._actions:
            assert action.help, f"{name} {action.option_strings}"
    benchmarks = commands_of(commands["bench"])
    assert set(benchmarks) == set(BENCHMARKS)
    for name, benchmark in benchmarks.items():
        for action in benchmark._actions:
            assert action.help, f"bench {name} {action.option_strings}"


def test_the_reference_names_every_command_and_benchmark():
    reference = " ".join((ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8").split())
    commands = commands_of(build_parser())
    benchmarks = [f"`bench {name}" for name in commands_of(commands["bench"])]
    assert not [name for name in [*(f"main.py {name}" for name in commands), *benchmarks] if name not in reference]


def test_flops_of_a_configuration_and_its_errors(tmp_path, capsys):
    config = ROOT / "models" / "configs" / "mobilenet_v1_075.toml"
    out = tmp_path / "flops.json"
    assert main(["flops", "--config", str(config), "--size", "64", "--json", str(out)]) == 0
    lines = json.loads(out.read_text())
    assert all(line["size"] == 64 and line["with_stem"] > line["without_stem"] > 0 for line in lines)
    assert f"{lines[-1]['with_stem']:,}" in capsys.readouterr().out
    assert main(["flops", "--size", "64"]) == 2
    assert main(["flops", "--config", str(tmp_path / "none.toml")]) == 4
    assert "none.toml" in capsys.readouterr().err


def test_the_overview_of_all_commands_fits_one_screen(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    text = capsys.readouterr().out
    rows = text.splitlines()
    assert end.value.code == 0
    assert len(rows) <= 40
    assert [row for row in rows if len(row) > 100] == []
    assert set(next(a.choices for a in build_parser()._actions if a.choices)) <= set(text.split())


def test_main_alone_says_how_to_begin(capsys):
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert "main.py run " in out
    assert "main.py --help" in out
    assert not err
