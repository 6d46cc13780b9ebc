"""Whatever becomes of stdout and stderr, a run goes on."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.console.telling import Teller, Untroubled, untroubled
from tests.support.paths import ROOT

WAIT_S = 20.0


def broken_pipe() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


def ascii_only() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii", line_buffering=True)


@pytest.mark.parametrize("make", [broken_pipe, closed, ascii_only, lambda: open("/dev/full", "w", buffering=1)])  # noqa: SIM115
def test_what_a_stream_raises_reaches_nobody(make, monkeypatch):
    stream = make()
    monkeypatch.setattr(sys, "stdout", stream)
    with untroubled():
        print("geschätzt: “27”", flush=True)
        print("and once more", file=sys.stdout, flush=True)
    assert sys.stdout is stream
    if not stream.closed:
        stream.flush()  # as Python does at its end
        stream.close()


def test_an_untroubled_stream_is_otherwise_the_stream(tmp_path):
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        stream = Untroubled(file)
        assert print("words", file=stream) is None and stream.encoding == "utf-8" and not stream.isatty()
    assert (tmp_path / "out").read_text() == "words\n"


def test_a_reader_who_does_not_read_holds_nobody_up():
    """As a terminal that was stopped with Ctrl-S."""
    gate, written = threading.Event(), []

    def write(text: str) -> None:
        gate.wait(WAIT_S)
        written.append(text)
        raise OSError("gone")

    teller = Teller(write)
    for number in range(1000):
        teller(f"fault {number}")
    gate.set()
    teller.close()
    teller("too late")
    assert written[-1] == "fault 999" and len(written) <= 101


@pytest.mark.parametrize("streams", ["1>/dev/full 2>/dev/full", "1>&- 2>&- 0<&-", "2>/dev/full | head -c 1"])
def test_a_run_goes_on_and_its_files_are_its_own(tmp_path, streams):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    command = f'"{sys.executable}" "{ROOT}/main.py" run --no-show --source one.png --results r {streams}'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path / "r").read_text().count("\n") == 1, "a line for its one frame and nothing else"


@pytest.mark.skipif(shutil.which("localedef") is None, reason="localedef is not installed")
def test_umlauts_in_names_under_a_latin_1_locale(tmp_path):
    """Names on disk are what the shell gave, and what cannot be spelt there does not end the run."""
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / "de_DE.ISO-8859-1"],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no locale could be made: " + made.stderr.decode(errors="replace"))
    image, results, video = (
        os.fsencode(tmp_path) + name for name in (b"/\xfcber.png", b"/\xfcbung.jsonl", b"/\xfcbung.mp4")
    )
    (tmp_path / "one.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    os.rename(os.fsencode(tmp_path / "one.png"), image)
    done = subprocess.run(
        [sys.executable, f"{ROOT}/main.py", "run", "--no-show", "--exit", "4@40", "--source", image, "--results", results,
         "--output", video, "--notice", b"Gesch\xe4tzt"],
        env={**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(results) > 0 and os.path.getsize(video) > 0
    assert b"\xfcbung.jsonl" in done.stdout
