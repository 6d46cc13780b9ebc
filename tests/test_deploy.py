"""The files in deploy/ name commands, options and settings that there are, and folders of the project that a run needs."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from app import config
from app.cli import build_parser
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"


def options_of(line: str) -> list[str]:
    words = shlex.split(line)
    assert words[:2] == ["/opt/elastic-faces/.venv/bin/python", "main.py"]
    return words[2:]


def test_the_service_runs_a_command_that_there_is():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "elastic-faces.service")
    args = build_parser().parse_args(options_of(unit["Service"]["ExecStart"]))
    assert args.show is False and args.config == Path("/etc/elastic-faces.toml")
    assert unit["Service"]["Type"] == "notify" and unit["Service"]["Restart"] == "on-failure"


def test_the_window_s_service_starts_it_again_after_a_crash():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(DEPLOY / "elastic-faces-kiosk.service")
    args = build_parser().parse_args(options_of(unit["Service"]["ExecStart"]))
    assert args.show and args.fullscreen and args.wait_for_source
    assert unit["Service"]["Restart"] == "on-failure" and unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Install"]["WantedBy"] == unit["Unit"]["PartOf"] == "graphical-session.target"
    told = (ROOT / "docs" / "guides" / "deploy.md").read_text(encoding="utf-8")
    assert "systemctl --user enable --now elastic-faces-kiosk" in told


def test_its_configuration_is_one_and_asks_for_nothing_about_people():
    settings = config.load({}, DEPLOY / "elastic-faces.toml").settings
    assert settings.source == "0" and settings.wait_for_source and not settings.written


def test_the_autostart_file_opens_a_window():
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(DEPLOY / "elastic-faces.desktop")
    args = build_parser().parse_args(options_of(entry["Desktop Entry"]["Exec"]))
    assert args.show and args.fullscreen and args.wait_for_source


def test_the_container_has_every_room_and_its_commands_are_right():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (?:.* )?(\w+) \w+$", text, re.MULTILINE))
    rooms = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests"}
    assert copied == rooms
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed >= rooms | {"requirements.txt", "main.py"}
    for command in re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE):
        assert build_parser().parse_args(json.loads(command)).show is False


@pytest.mark.parametrize(
    ("tool", "file"),
    [
        ("systemd-analyze", "elastic-faces.service"),
        ("systemd-analyze", "elastic-faces-kiosk.service"),
        ("desktop-file-validate", "elastic-faces.desktop"),
    ],
)
def test_what_the_systems_own_tools_say(tmp_path, tool, file):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    here = tmp_path / file
    text = (
        (DEPLOY / file).read_text(encoding="utf-8").replace("/opt/elastic-faces/.venv/bin/python", shutil.which("sh"))
    )
    here.write_text(text.replace("/opt/elastic-faces", str(tmp_path)))
    command = [tool, "verify", str(here)] if tool == "systemd-analyze" else [tool, str(here)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and file not in done.stdout + done.stderr, done.stderr
