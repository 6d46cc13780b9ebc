from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from app.domain import Box, Estimate, Frame, Person, Result
from app.errors import OutputError
from app.files import TextFile, check_writable
from app.mailbox import WhenFull
from app.outputs.formats import results_writer
from app.outputs.results import CsvWriter, ResultsWriter
from app.outputs.video import VideoWriter
from tests.support.builders import STATS


def result(i: int, time_s: float, shape: tuple[int, int] = (270, 480), estimate: bool = True) -> Result:
    image = np.full((*shape, 3), (i * 20) % 256, np.uint8)
    known = Estimate(34.2, 29.0, 39.4, "male", 0.97, "happy", 0.8, "exit_13") if estimate else None
    return Result(Frame(i, image, time_s, 0.0), (Person(1, Box(100, 80, 60, 60), known, estimate),), STATS)


def test_results_have_the_promised_fields(tmp_path):
    writer = ResultsWriter(tmp_path / "r.jsonl")
    writer.deliver(result(0, 0.0, estimate=False))
    writer.deliver(result(1, 0.04))
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    writer.close()
    assert len(lines) == 2, "each line is on disk before the next begins"
    assert list(lines[0]) == ["frame", "time_s", "people"]
    fields = [
        "id",
        "box",
        "age",
        "age_low",
        "age_high",
        "gender",
        "gender_p",
        "expression",
        "expression_p",
        "exit",
        "fresh",
        "unfit",
    ]
    assert list(lines[0]["people"][0]) == list(lines[1]["people"][0]) == fields
    assert lines[0]["people"][0]["age"] is None and lines[0]["people"][0]["fresh"] is False
    assert lines[1]["people"][0] == {
        "id": 1, "box": [100, 80, 60, 60], "age": 34.2, "age_low": 29.0, "age_high": 39.4, "gender": "male", "gender_p": 0.97,
        "expression": "happy", "expression_p": 0.8, "exit": "exit_13", "fresh": True, "unfit": None,
    }  # fmt: skip


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return list(container.decode(video=0))


def test_video_is_complete_and_keeps_the_frames_times(tmp_path):
    writer = VideoWriter(tmp_path / "o.mp4", WhenFull.WAIT)
    times = [0.0, 0.04, 0.05, 0.5, 1.7]
    for i, t in enumerate(times):
        assert writer.deliver(result(i, t)) is None
    writer.close()
    decoded = frames(tmp_path / "o.mp4")
    assert [round(float(f.time), 2) for f in decoded] == times
    assert (decoded[0].width, decoded[0].height) == (480, 270)
    flat = decoded[0].to_ndarray(format="bgr24")
    assert flat.std() > 3, "the overlay is painted"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_live_recording_that_is_cut_off_plays(tmp_path, suffix):
    """What is on disk while the recording goes on is what a kill or a power failure leaves."""
    writer = VideoWriter(tmp_path / f"o{suffix}", WhenFull.WAIT, index_first=False)
    for i in range(200):
        writer.deliver(result(i, i / 25, (90, 160)))
    (tmp_path / f"cut{suffix}").write_bytes((tmp_path / f"o{suffix}").read_bytes())
    writer.close()
    cut, whole = frames(tmp_path / f"cut{suffix}"), frames(tmp_path / f"o{suffix}")
    assert len(whole) == 200 and float(whole[-1].time) == pytest.approx(199 / 25)
    assert len(cut) >= 100, "a second in the muxer, the encoder's own, and eight frames that wait for it"


def test_the_same_results_make_the_same_video_whatever_the_run_was_like(tmp_path):
    for name, fps in (("a.mp4", 15.0), ("b.mp4", 3.2)):
        writer = VideoWriter(tmp_path / name, WhenFull.WAIT)
        for i in range(12):
            stats = dataclasses.replace(STATS, fps=fps, frame_age_ms=fps * 10, misses=i)
            writer.deliver(dataclasses.replace(result(i, i / 25), stats=stats))
        writer.close()
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("shape", [(271, 481), (1, 1), (3, 2)])
def test_odd_and_tiny_sizes_are_evened(tmp_path, shape):
    writer = VideoWriter(tmp_path / "o.mkv", WhenFull.WAIT)
    for i in range(3):
        writer.deliver(result(i, i / 25, shape))
    writer.close()
    decoded = frames(tmp_path / "o.mkv")
    assert len(decoded) == 3 and decoded[0].width % 2 == decoded[0].height % 2 == 0


def test_a_source_that_changes_its_size_goes_on(tmp_path):
    writer = VideoWriter(tmp_path / "o.mp4", WhenFull.WAIT)
    for i, shape in enumerate([(270, 480), (540, 960), (100, 100), (270, 480)]):
        writer.deliver(result(i, i / 25, shape))
    writer.close()
    assert {(f.width, f.height) for f in frames(tmp_path / "o.mp4")} == {(480, 270)}


def test_no_frames_no_trouble(tmp_path):
    VideoWriter(tmp_path / "o.mp4", WhenFull.WAIT).close()


def test_a_failing_encoder_reaches_the_caller_and_does_not_hang(tmp_path):
    writer = VideoWriter(tmp_path / "gone" / "o.mp4", WhenFull.WAIT)
    with pytest.raises(OutputError, match=r"o\.mp4"):
        for i in range(1000):
            writer.deliver(result(i, i / 25))
        writer.close()
    with pytest.raises(OutputError):
        writer.close()


def test_paths_are_checked_and_nothing_on_disk_is_changed(tmp_path):
    kept = tmp_path / "old.jsonl"
    kept.write_text("precious")
    check_writable(kept)
    check_writable(tmp_path / "new.jsonl")
    assert kept.read_text() == "precious" and not (tmp_path / "new.jsonl").exists()
    for path, says in ((tmp_path, "folder"), (tmp_path / "no" / "x", "no folder")):
        with pytest.raises(OutputError, match=says):
            check_writable(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        check_writable(tmp_path / "x")


def test_any_fault_of_the_encoder_reaches_the_caller(tmp_path, monkeypatch):
    """Not only those that PyAV is known for: nobody may wait for a thread that is dead."""

    def broken(*_):
        raise RuntimeError("a fault in painting")

    monkeypatch.setattr("app.outputs.video.paint", broken)
    writer = VideoWriter(tmp_path / "o.mp4", WhenFull.WAIT)
    with pytest.raises(OutputError, match="a fault in painting"):
        for i in range(1000):
            writer.deliver(result(i, i / 25))
        writer.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_log_is_an_output_error():
    from scheduler.log import LogWriter

    file = TextFile(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"/dev/full.*No space"):
        LogWriter(file, {})
    with pytest.raises(OutputError, match="No space"):
        file.close()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have_are_refused(tmp_path, name):
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / name)


def test_video_plays_everywhere(tmp_path):
    """8-bit 4:2:0 with even sides, its colours named, and the index before the pictures, as browsers want it."""
    for suffix in (".mp4", ".mov", ".mkv"):
        path = tmp_path / f"o{suffix}"
        writer = VideoWriter(path, WhenFull.WAIT)
        for i in range(3):
            writer.deliver(result(i, i / 25, (271, 481)))
        writer.close()
        with av.open(str(path)) as container:
            codec = container.streams.video[0].codec_context
            assert (codec.name, codec.profile, codec.pix_fmt) == ("h264", "High", "yuv420p")
            assert (codec.width, codec.height, codec.level <= 40) == (480, 270, True)
            assert codec.colorspace == codec.color_primaries == codec.color_trc == 1, "BT.709"
        content = path.read_bytes()
        assert suffix == ".mkv" or 0 < content.find(b"moov") < content.find(b"mdat")


def test_results_as_csv_hold_what_the_json_lines_hold(tmp_path):
    writers = [results_writer(tmp_path / name) for name in ("r.csv", "R.CSV", "r.jsonl", "r.json")]
    assert [type(w) for w in writers] == [CsvWriter, CsvWriter, ResultsWriter, ResultsWriter]
    empty = dataclasses.replace(result(2, 0.08), people=())
    for writer in writers:
        for one in (result(0, 0.0, estimate=False), result(1, 0.04), empty):
            writer.deliver(one)
        writer.close()
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(rows) == sum(len(line["people"]) for line in lines) == 2
    for row, line in zip(rows, lines, strict=False):
        person = line["people"][0]
        box = dict(zip(("x", "y", "width", "height"), person.pop("box"), strict=True))
        said = {"frame": line["frame"], "time_s": line["time_s"], **person, **box}
        assert set(row) == set(said)
        for name, value in said.items():
            assert row[name] == ("" if value is None else str(value).lower() if name == "fresh" else str(value)), name
