"""What may be seen of the people in view, for each mode and each way out of the program."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import tarfile

import av
import cv2
import dlib
import numpy as np
import pytest

from align.crop import crop_batch
from align.geometry import AlignmentError, Template
from align.landmarks import LandmarkPredictor
from app.cli import main
from app.compose import build, load_manifest
from app.domain import Box, Crowd, Frame, Person, Result
from app.errors import UsageError
from app.faces.detectors import open_detector
from app.faces.search import Search
from app.faces.viola_jones import ViolaJones
from app.mailbox import WhenFull
from app.network.onnx_cpu import CpuEngine
from app.outputs.privacy import BLOCKS, LEAST_PEOPLE, MARGIN, Aggregate, covered, protection, read_notice
from app.outputs.video import VideoWriter
from app.overlay.people import paint
from app.settings import Settings
from app.window.display import why_no_display
from tests.support.builders import STATS, estimate
from tests.support.fakes import FakeClock, FakeSource

MODES = ("blur", "pixelate", "aggregate")
COVERS = ("blur", "pixelate")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A face at (172, 60) to (272, 160), 400x400."""
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[20:420, 20:420].copy()


CASCADE = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
HOG = dlib.get_frontal_face_detector()


def faces(image: np.ndarray) -> list[Box]:
    """Whatever either of two detectors takes for a face, eager as they can be set: Viola-Jones, and dlib's HOG."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    found = [Box(*map(float, box)) for box in CASCADE.detectMultiScale(gray, 1.1, 3, minSize=(24, 24))]
    return found + [Box(r.left(), r.top(), r.width(), r.height()) for r in HOG(gray, 0)]


def shows(picture: np.ndarray, face: Box) -> bool:
    """Whether there is still a face to be found around here."""
    x0, y0 = max(0, int(face.x - face.width)), max(0, int(face.y - face.height))
    around = picture[y0 : int(face.y + 2 * face.height), x0 : int(face.x + 2 * face.width)]
    (x, y), reach = face.centre, 0.5 * face.width
    return any(abs(f.centre[0] + x0 - x) < reach and abs(f.centre[1] + y0 - y) < reach for f in faces(around))


# --- covering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(
    "box", [Box(150, 40, 100, 100), Box(-30, -20, 90, 80), Box(330, 350, 200, 200), Box(390, 10, 9, 300)]
)
def test_of_a_covered_place_no_more_is_left_than_its_few_means(box, smooth):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    before = image.copy()
    out = covered(image, [box], smooth=smooth)
    assert (image == before).all(), "nobody writes into a frame's picture"
    margin = MARGIN * box.width
    inside = np.zeros((400, 400), bool)
    x0, y0 = max(0, int(np.floor(box.x - margin))), max(0, int(np.floor(box.y - margin)))
    x1, y1 = int(np.ceil(box.x + box.width + margin)), int(np.ceil(box.y + box.height + margin))
    inside[y0:y1, x0:x1] = True
    assert (out[~inside] == before[~inside]).all()
    place = out[y0:y1, x0:x1]
    if not smooth:
        assert len(np.unique(place.reshape(-1, 3), axis=0)) <= BLOCKS**2
    # Noise has nothing but detail: of its contrast (74 grey levels) only that of the means may be left.
    assert place.astype(float).std() < 15
    # A smooth picture is made of its means alone: mixing the pixels within a block changes nothing.
    again = covered(out, [box], smooth=smooth)
    assert np.abs(again.astype(int) - out).mean() < 12


def test_pixels_that_only_differ_within_a_block_are_the_same_picture_when_covered():
    box = Box(20, 20, 60, 60)  # with its margin from 2 to 98: blocks of 16
    flat = np.full((110, 110, 3), 100, np.uint8)
    striped = flat.copy()
    striped[2:98, 2:98:2] += 20
    striped[2:98, 3:98:2] -= 20
    for smooth in (False, True):
        assert (covered(striped, [box], smooth=smooth) == covered(flat, [box], smooth=smooth)).all()


@pytest.mark.parametrize("mode", COVERS)
def test_detectors_no_longer_find_the_face(portrait, mode):
    before = faces(portrait)
    assert len(before) >= 2, "both find it"
    for size in (80, 200, 400):
        image = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
        where = [Box(*(v * size / 400 for v in box)) for box in before]
        result = Result(Frame(0, image, 0.0, 0.0), (), STATS)
        out = protection(mode)(result, where[:1]).frame.image
        assert not shows(cv2.resize(out, (400, 400)), before[0])


def test_our_own_network_no_longer_reads_a_covered_face(utkface_tar, tmp_path):
    """With the landmarks of the plain picture, which an attacker would not have. Gender is at chance then."""
    manifest, predictor = load_manifest("mobilenet_v1_075"), LandmarkPredictor()
    engine, template, detect = CpuEngine(manifest, exits=["exit_13"]), Template(manifest.template), ViolaJones()
    right: dict[str, list[bool]] = {"plain": [], "blur": [], "pixelate": []}
    with tarfile.open(utkface_tar) as tar:
        for i, member in enumerate(tar):
            if len(right["plain"]) >= 120:
                break
            parts = member.name.rpartition("/")[2].split("_")
            if i % 7 or not member.isfile() or len(parts) < 4 or int(parts[0]) < 15:
                continue
            image = cv2.imdecode(np.frombuffer(tar.extractfile(member).read(), np.uint8), cv2.IMREAD_COLOR)
            image = cv2.copyMakeBorder(image, 60, 60, 60, 60, cv2.BORDER_REFLECT_101)
            gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            found = [s.box for s in detect(gray, 70, 250)]
            if not found:
                continue
            try:
                matrix = template.fit(predictor(gray, found[0]))
            except AlignmentError:
                continue
            pictures = {"plain": image} | {m: covered(image, found[:1], smooth=m == "blur") for m in COVERS}
            for mode, picture in pictures.items():
                point = engine.points[-1]
                reading = engine.read(point, crop_batch(picture, [matrix], point.size))[0]
                right[mode].append(int(reading.gender.argmax()) == int(parts[1]))
    assert len(right["plain"]) >= 100 and np.mean(right["plain"]) > 0.88
    assert np.mean(right["blur"]) < 0.68 and np.mean(right["pixelate"]) < 0.68  # chance, and three deviations of it


# --- what is covered --------------------------------------------------------------------------------------------------


def test_every_place_is_covered_also_of_people_who_are_not_shown():
    from tests.support.pipelines import make, run

    noise = np.random.default_rng(1).integers(0, 256, (240, 480, 3), dtype=np.uint8)
    # Two faces, one of them beyond --max-faces; from the fifth frame on both are missed: they coast, then are only expected.
    boxes = [Box(60, 80, 40, 40), Box(300, 90, 40, 40)]
    source = FakeSource([noise.copy() for _ in range(20)], clock=FakeClock())
    pipeline, sink = make(
        source, lambda call: boxes if call < 4 else [], max_faces=1, protect=protection("pixelate")
    )  # fmt: skip
    run(pipeline)
    assert len(sink.results) == 20 and any(not r.people for r in sink.results), "some show nobody any more"
    for result in sink.results:
        for box in boxes:
            x, y = map(int, box.centre)
            assert len(np.unique(result.frame.image[y - 15 : y + 15, x - 15 : x + 15].reshape(-1, 3), axis=0)) <= 16
        assert (result.frame.image[:60] == noise[:60]).all()
    assert (pipeline.latest().frame.image == sink.results[-1].frame.image).all(), "what the window shows"


def test_newcomers_are_found_in_their_first_frame(portrait):
    empty = np.full((400, 600, 3), 90, np.uint8)
    pictures = [empty, empty, empty]
    pictures.append(empty.copy())
    pictures[3][:, 100:500] = portrait
    for watchful in (True, False):
        search = Search(open_detector("viola-jones"), every_frame=watchful)
        found = [search(p, cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), i / 100, []) for i, p in enumerate(pictures)]
        assert bool(found[3]) == watchful


# --- every way out ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clip(portrait, tmp_path):
    """The portrait moving through eight frames, lossless, clear of the panel of figures."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (720, 480))
    for i in range(8):
        frame = np.full((480, 720, 3), 60, np.uint8)
        frame[80:, 240 + 8 * i : 640 + 8 * i] = portrait
        writer.write(frame)
    writer.release()
    return path


def where(portrait: np.ndarray, frame: int) -> Box:
    return Box(153 + 240 + 8 * frame, 55 + 80, 110, 110)


def pictures(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]


def run_with(mode: str, clip, **outputs) -> Result:
    """The newest result, which the window shows, after the whole clip."""
    app = build(Settings(source=str(clip), privacy=mode, show=False, exit="exit_13", **outputs))
    app.pipeline.start()
    try:
        assert app.pipeline.wait(60)
    finally:
        app.pipeline.close()
    latest = app.pipeline.latest()
    assert app.pipeline.failure is None and latest.frame.id == 7 and latest.stats.faces == 1
    return latest


def test_without_privacy_the_face_is_there(clip, portrait, tmp_path):
    """So that the next test means something."""
    latest = run_with("none", clip, output=tmp_path / "o.mp4")
    assert shows(latest.frame.image, where(portrait, 7))
    assert sum(shows(p, where(portrait, i)) for i, p in enumerate(pictures(tmp_path / "o.mp4"))) >= 6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_no_way_out_of_a_run_shows_the_face(clip, portrait, tmp_path, mode, suffix):
    results, events, log, output = (tmp_path / name for name in (f"r.{suffix}", "events", "log", "o.mp4"))
    more = {"output": output, "log": log} if suffix == "jsonl" else {}
    latest = run_with(mode, clip, results=results, events=events, **more)
    for image in (latest.frame.image, paint(latest.frame.image, latest)):
        assert not shows(image, where(portrait, 7)), "what the window shows"
    for i, picture in enumerate(pictures(output) if more else []):
        assert not shows(picture, where(portrait, i)), f"frame {i} of the video"
    with results.open(newline="") as file:
        lines = list(csv.DictReader(file)) if suffix == "csv" else [json.loads(line) for line in file]
    happened = [json.loads(line) for line in events.read_text().splitlines()]
    if mode == "aggregate":
        assert len(np.unique(latest.frame.image)) == 1 and not latest.people
        assert len(lines) == 8 and all(set(line) == {"frame", "time_s", "faces"} for line in lines)
        assert max(int(line["faces"]) for line in lines) == 1
        assert len(happened) == 1 and set(happened[0]) == {"event", *(f.name for f in dataclasses.fields(Crowd))} - {
            "present"
        }
        assert happened[0]["people"] == 1 and happened[0]["ages"] is None and happened[0]["dwell_s"] is None
    else:
        assert latest.people and len(lines) >= 7
        assert [e["event"] for e in happened] == ["enter", "leave"]
    if more:
        assert not re.search(r"(fe)?male|happy|neutral|box|person", log.read_text().partition("\n")[2])


@pytest.mark.parametrize("mode", COVERS)
def test_live_sources_whose_faces_are_found_in_another_process_are_covered_too(clip, portrait, mode):
    app = build(Settings(source=str(clip), realtime=True, privacy=mode, show=False, exit="exit_13"))
    results: list[Result] = []
    app.pipeline.start()
    try:
        while not app.pipeline.wait(0.01):
            if (latest := app.pipeline.latest()) and (not results or latest is not results[-1]):
                results.append(latest)
    finally:
        app.pipeline.close()
    results.append(app.pipeline.latest())
    assert app.pipeline.failure is None
    for result in results:
        assert not shows(result.frame.image, where(portrait, result.frame.id)), result.frame.id


# --- aggregate --------------------------------------------------------------------------------------------------------


def crowd(time_s: float, *ages: float | None) -> Result:
    people = tuple(Person(i + 1, Box(0, 0, 9, 9), estimate(a) if a else None, True) for i, a in enumerate(ages))
    stats = dataclasses.replace(STATS, faces=len(people))
    return Result(Frame(0, np.full((20, 30, 3), 99, np.uint8), time_s, 0.0), people, stats)


def test_distributions_are_told_of_enough_people_only():
    for count in (LEAST_PEOPLE - 1, LEAST_PEOPLE):
        out = Aggregate()(crowd(1.0, *range(21, 21 + 4 * count, 4), None), [])
        assert out.people == () and out.crowd.people == count + 1 and out.crowd.most == count + 1
        assert out.crowd.ages == ({"20-29": 3, "30-39": 2} if count == LEAST_PEOPLE else None)
        assert out.crowd.genders == ({"female": count} if count == LEAST_PEOPLE else None)
        assert (out.crowd.expressions is None) == (count < LEAST_PEOPLE)
        assert not (out.frame.image == 99).any() and out.frame.image.shape == (20, 30, 3)


def test_a_window_forgets_the_one_before():
    aggregate = Aggregate(window_s=10.0)
    first = [aggregate(crowd(t, *[30.0] * n), []).crowd for t, n in ((0.0, 6), (4.0, 2), (9.9, 0))]
    assert (first[-1].from_s, first[-1].to_s, first[-1].people, first[-1].most) == (0.0, 9.9, 6, 6)
    assert first[-1].left == 6 and first[-1].dwell_s == 0.0  # four were seen once, two for 4 s
    second = aggregate(crowd(31.0, 40.0), []).crowd
    assert (second.from_s, second.people, second.most, second.left, second.dwell_s) == (30.0, 1, 1, 0, None)


def test_windows_become_lines_when_they_have_passed(tmp_path):
    from app.outputs.events import EventsWriter

    aggregate, writer = Aggregate(window_s=10.0), EventsWriter(tmp_path / "e")
    for t in (0.0, 5.0, 12.0):
        writer.deliver(aggregate(crowd(t, *[30.0] * 6), []))
    assert len((tmp_path / "e").read_text().splitlines()) == 1
    writer.close()
    writer.close()
    lines = [json.loads(line) for line in (tmp_path / "e").read_text().splitlines()]
    assert [(e["event"], e["from_s"], e["to_s"], e["people"]) for e in lines] == [
        ("window", 0.0, 5.0, 6),
        ("window", 10.0, 12.0, 6),
    ]
    assert lines[0]["ages"] == {"30-39": 6} and not {"id", "age", "gender", "box"} & set(lines[0])


def test_a_video_of_a_crowd_has_figures_and_no_picture(tmp_path):
    writer, aggregate = VideoWriter(tmp_path / "o.mp4", WhenFull.WAIT), Aggregate()
    noise = np.random.default_rng(0).integers(0, 256, (270, 480, 3), dtype=np.uint8)
    for i in range(3):
        result = crowd(i / 10, 30.0)
        writer.deliver(aggregate(dataclasses.replace(result, frame=dataclasses.replace(result.frame, image=noise)), []))
    writer.close()
    assert all(p[200:, 300:].std() < 1 for p in pictures(tmp_path / "o.mp4"))


@pytest.mark.skipif(why_no_display({"QT_QPA_PLATFORM": "offscreen"}) is not None, reason="needs Qt")
@pytest.mark.parametrize("mode", MODES)
def test_the_window_itself_shows_no_face(portrait, mode):
    """What is on the screen, not only what the window was given."""
    from PyQt5.QtWidgets import QApplication

    from app.window.watched import Look, Watched
    from app.window.window import KioskWindow

    application = QApplication.instance() or QApplication(["tests"])
    picture = np.full((480, 720, 3), 60, np.uint8)
    picture[80:, 240:640] = portrait
    face = where(portrait, 0)
    plain = Result(Frame(0, picture, 0.0, 0.0), (Person(1, face, estimate(30.0), True),), STATS)
    shown = {}
    for name, result in (("none", plain), (mode, protection(mode)(plain, []))):
        latest = {"result": result}
        run = Watched(latest=lambda latest=latest: latest["result"])
        window = KioskWindow(run, title="t", look=Look(panel=False))
        window.halt()
        window.resize(720, 480)
        window.show()
        window.settle()
        window.resize(720, 480)
        window.settle()
        image = window.grab().toImage().convertToFormat(4)  # Format_RGB32: BGRA in memory
        pixels = np.frombuffer(image.bits().asstring(image.sizeInBytes()), np.uint8)
        shown[name] = pixels.reshape(image.height(), image.bytesPerLine() // 4, 4)[:480, :720, :3].copy()
        window.close()
    application.processEvents()
    assert shown["none"].shape == (480, 720, 3) and shows(shown["none"], face)
    assert not shows(shown[mode], face)


# --- the notice -------------------------------------------------------------------------------------------------------


def test_a_notice_is_a_text_or_a_text_file(tmp_path):
    assert read_notice(" Welcome ") == "Welcome"
    (tmp_path / "n.txt").write_text("Tervetuloa!\nIkäarvioita.\n", encoding="utf-8")
    assert read_notice(str(tmp_path / "n.txt")) == "Tervetuloa!\nIkäarvioita."
    for content in ("\ufeffGeschätzt".encode(), "Geschätzt".encode("cp1252"), "\ufeffGeschätzt".encode("utf-16-le")):
        (tmp_path / "n.txt").write_bytes(content)
        assert read_notice(str(tmp_path / "n.txt")) == "Geschätzt"
    assert read_notice(os.fsdecode("Geschätzt".encode("cp1252"))) == "Geschätzt", "a terminal in Latin-1"
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.txt").write_bytes(b"\x00\x01\x02\xff")
    for text, says in (
        (str(tmp_path / "no.txt"), "cannot be read"),
        (str(tmp_path / "b.txt"), "cannot be read"),
        (str(tmp_path / "c.txt"), "it is not text"),
        ("x" * 601, "longer"),
    ):
        with pytest.raises(UsageError, match=says):
            read_notice(text)
    assert main(["run", "--no-show", "--source", "demo", "--notice", str(tmp_path / "no.txt")]) == 2
