from __future__ import annotations

import json

import pytest

from app.cli import main
from app.commands import log as command
from app.errors import UsageError
from app.reports.sharing import LICENCE, shared
from scheduler.reading import read_log
from tests.support.paths import ROOT

LOG = ROOT / "docs" / "results" / "logs" / "demo-b.jsonl"


def with_a_place(path):
    header, *frames = LOG.read_text().splitlines()
    data = json.loads(header)
    data["settings"] |= {"source": "rtsp://192.168.1.20/door", "log": "/home/anna/log.jsonl"}
    data["machine"]["node"] = "museum-door"
    event = {"type": "event", "name": "source_lost", "text": "camera 'Front door' was unplugged", "frame": 3}
    path.write_text("\n".join([json.dumps(data), json.dumps(event), *frames[:200]]) + "\n")
    return path


def test_what_is_shared_names_no_place_and_replays_as_before(tmp_path):
    left_out = shared(with_a_place(tmp_path / "mine.jsonl"), tmp_path / "out.jsonl")
    text = (tmp_path / "out.jsonl").read_text()
    for word in ("rtsp", "192.168", "museum", "Front door", "anna", "created"):
        assert word not in text, word
    assert {"event source_lost", "machine: node", "settings: source"} <= set(left_out)
    again = read_log(tmp_path / "out.jsonl")
    assert len(again.frames) == 200 and again.header["licence"] == LICENCE


def test_a_text_that_looks_like_an_address_is_refused(tmp_path):
    header, *frames = LOG.read_text().splitlines()
    data = json.loads(header)
    data["settings"]["device"] = "rtsp://door"
    (tmp_path / "l").write_text("\n".join([json.dumps(data), *frames[:20]]) + "\n")
    with pytest.raises(UsageError, match="may name a place"):
        shared(tmp_path / "l", tmp_path / "out")


def test_the_command_shares_one_log_and_nothing_over_itself(tmp_path, capsys):
    assert main(["log", str(LOG), "--share", str(tmp_path / "out.jsonl")]) == 0
    assert "CC0" in capsys.readouterr().out
    assert main(["log", str(LOG), "--share", str(LOG)]) == command_error()
    assert main(["log", str(tmp_path / "none"), str(LOG), "--share", str(tmp_path / "out.jsonl")]) == command_error()
    assert command.run


def command_error() -> int:
    return UsageError("").exit_code
