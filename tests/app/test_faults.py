"""What a live run survives, and what ends a run over a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from app.bench.faults import TIMETABLE, DemoCapture, Timetable, fill_disk
from app.errors import OutputError
from app.faults import NETWORK, PATIENCE, Diary, Faults
from app.files import TextFile


def test_a_streak_is_told_once_and_counted_whole():
    faults, told, noted = Faults(survives=True), [], []
    faults.tell, faults.note = told.append, lambda part, text: noted.append((part, text))
    for _ in range(5):
        faults.survive(NETWORK, RuntimeError("no memory"))
    faults.well(NETWORK)
    faults.survive(NETWORK, RuntimeError("again"))
    assert faults.counts[NETWORK] == 6
    assert told == ["network failed: RuntimeError: no memory", "network failed: RuntimeError: again"]
    assert noted == [(NETWORK, "RuntimeError: no memory"), (NETWORK, "RuntimeError: again")]


def test_a_file_s_run_survives_nothing_and_a_live_one_not_for_ever():
    with pytest.raises(RuntimeError, match="first"):
        Faults(survives=False).survive(NETWORK, RuntimeError("first"))
    faults = Faults(survives=True)
    for _ in range(PATIENCE):
        faults.survive(NETWORK, RuntimeError("still"))
    with pytest.raises(RuntimeError, match="enough"):
        faults.survive(NETWORK, RuntimeError("enough"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_gives_the_log_up_once_and_keeps_what_was_written(tmp_path):
    class Log:
        def __init__(self) -> None:
            self.file = TextFile(tmp_path / "log.jsonl")

        def event(self, name: str, **details: object) -> None:
            self.file.write(f"{name}\n")

        def close(self) -> None:
            self.file.close()

    kept: list[Exception] = []
    faults = Faults(survives=True)
    diary = Diary(Log(), faults, kept.append)
    diary.event("before")
    assert fill_disk(tmp_path / "log.jsonl")
    diary.event("lost")
    diary.event("never tried")
    assert (tmp_path / "log.jsonl").read_text() == "before\n"
    assert [type(e) for e in kept] == [OutputError] and faults.counts["latency log"] == 1


def test_threads_write_one_after_another_and_a_fault_may_be_noted_meanwhile(tmp_path):
    class Log:
        def __init__(self) -> None:
            self.lines, self.inside, self.alone = 0, 0, True

        def drop(self, frame_id: int, cause: str, camera: str = "") -> None:
            self.inside += 1
            self.lines += sum(range(50)) > 0
            self.alone = self.alone and self.inside == 1
            self.inside -= 1
            if frame_id < 0:
                raise OutputError("the disk is full")

        def event(self, name: str, **details: object) -> None:
            pytest.fail("it was given up")

        def close(self) -> None:
            pass

    log, faults = Log(), Faults(survives=True)
    diary = Diary(log, faults, lambda error: None)
    faults.note = lambda part, text: diary.event("fault", part=part, text=text)
    threads = [threading.Thread(target=lambda: [diary.drop(i, "grab_full") for i in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.alone and log.lines == 2000
    diary.drop(-1, "grab_full")
    diary.drop(1, "grab_full")
    assert log.lines == 2001 and faults.counts["latency log"] == 1


def test_filling_the_disk_of_a_file_that_is_not_open_says_so(tmp_path):
    assert not fill_disk(tmp_path / "nobody")
    before = set(os.listdir("/proc/self/fd"))
    fill_disk(tmp_path / "nobody")
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_timetable_counts_each_fault_when_it_begins():
    now = [0.0]
    timetable = Timetable(clock=lambda: now[0])
    seen = []
    for step in range(2 * 55 * 10):
        now[0] = step / 10
        seen.append(timetable.now())
    assert dict(timetable.came) == {name: 2 for name, _, _ in TIMETABLE}
    assert seen.count("camera stalls") == pytest.approx(2 * 70, abs=2)


def test_broken_pictures_are_of_every_kind_that_a_driver_sends():
    from app.sources.captures import next_image

    timetable = Timetable(clock=lambda: 6.5)
    timetable._began_s = 0.0
    capture = DemoCapture(None, timetable, smaller=False)
    pictures = [capture.retrieve()[1] for _ in range(4)]
    assert (
        any(p is None for p in pictures) and len({None if p is None else (p.shape, p.dtype.str) for p in pictures}) == 4
    )
    assert [next_image(capture) for _ in range(4)] == [(True, None)] * 4
