"""Footage of the kinds that come wrong out of a player's library without a word: made files, read through the one door."""

from __future__ import annotations

import gc
import shutil
import subprocess
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from app.errors import SourceError
from app.sources.decoding import LONGEST_SKIP_S, video_track
from app.sources.open import open_source
from app.sources.video import broke_off
from tests.support.videos import combing, copied, error, make, picture, woven, zero

INTERLACED = {
    "mpeg2": ("clip.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "4000000", "g": "12"}, "yuv420p", (160, 120)),
    "dv": ("clip.dv", "dvvideo", {}, "yuv420p", (720, 576)),
    "h264": ("clip.mp4", "libx264", {"x264-params": "tff=1:interlaced=1"}, "yuv420p", (160, 120)),
}


def ffmpeg() -> str:
    """A program that knows Theora. Skips where there is none."""
    with suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    if found := shutil.which("ffmpeg"):
        return found
    pytest.skip("neither imageio-ffmpeg (requirements-dev.txt) nor an ffmpeg is installed")


def read(path: Path) -> tuple:
    source = open_source(str(path))
    return source, list(source)


# --- pictures


@pytest.mark.parametrize("kind", INTERLACED)
def test_interlaced_video_has_no_combs(tmp_path, kind):
    name, codec, options, pix_fmt, size = INTERLACED[kind]
    path = make(tmp_path / name, 20, codec=codec, options=options, pix_fmt=pix_fmt, size=size, draw=woven)
    source, frames = read(path)
    assert len(frames) == 20 and not source.damaged
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(20)], abs=1e-3)
    assert max(combing(f.image) for f in frames) < 0.5 * combing(woven(3, size))
    width = frames[9].image.shape[1]
    fields = [cv2.resize(picture(i, size), (width, size[1])).mean(axis=2) for i in (18, 19)]
    assert min(np.abs(frames[9].image.mean(axis=2) - field).mean() for field in fields) < 6


def test_progressive_video_passes_untouched(tmp_path):
    _, frames = read(make(tmp_path / "a.mp4", 10, options={"qp": "4"}))
    assert max(error(f.image, f.id) for f in frames) < 5


@pytest.mark.parametrize(
    ("aspect", "stored", "shown"),
    [
        (Fraction(64, 45), (720, 576), (1024, 576)),  # PAL, wide
        (Fraction(2), (160, 120), (320, 120)),
        (Fraction(1, 2), (160, 120), (160, 240)),
        (Fraction(500), (160, 120), (160, 120)),  # no lens is so
    ],
)
def test_pixels_become_square(tmp_path, aspect, stored, shown):
    _source, frames = read(make(tmp_path / "a.mkv", 3, size=stored, aspect=aspect))
    assert {f.image.shape for f in frames} == {(shown[1], shown[0], 3)}
    true = cv2.resize(picture(0, stored), shown)
    assert np.abs(frames[0].image.astype(int) - true).mean() < 6


def test_pictures_that_grow_out_of_all_bounds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("app.sources.picture.MAX_PIXELS", 30_000)
    with pytest.raises(SourceError, match="320x120 pixels; more than 64 million are not read"):
        read(make(tmp_path / "a.mkv", 3, aspect=Fraction(2)))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_telephone_held_upright(tmp_path, rotation):
    _source, frames = read(make(tmp_path / "a.mp4", 3, rotation=rotation, options={"qp": "10"}))
    true = np.rot90(picture(0), rotation // 90)
    assert frames[0].image.shape == true.shape
    assert np.abs(frames[0].image.astype(int) - true).mean() < 4


def test_ten_bits(tmp_path):
    _, frames = read(
        make(tmp_path / "a.mkv", 3, codec="libx265", pix_fmt="yuv420p10le", options={"x265-params": "log-level=none"})
    )
    assert len(frames) == 3 and error(frames[0].image, 0) < 6


def test_what_is_transparent_lies_on_white(tmp_path):
    _, frames = read(make(tmp_path / "a.mov", 2, codec="qtrle", pix_fmt="argb", change=clear_the_top))
    assert (frames[0].image[:60] == 255).all()
    assert np.abs(frames[0].image[60:].astype(int) - picture(0)[60:]).mean() < 3
    Pillow.fromarray(np.dstack([picture(0)[..., ::-1], np.full((120, 160), 0, np.uint8)])).save(tmp_path / "b.png")
    _, (still,) = read(tmp_path / "b.png")
    assert (still.image == 255).all()


def clear_the_top(frame: av.VideoFrame) -> None:
    argb = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(frame.height, -1).copy()
    argb[:60, 0::4], argb[60:, 0::4] = 0, 255
    frame.planes[0].update(argb.tobytes())


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_a_face_in_high_dynamic_range_looks_as_it_does_on_a_screen(tmp_path, transfer):
    """White of 203 nits comes back as the white that it was, grey as grey, and light above it stays in order."""
    nits = np.array([2.0, 20, 60, 120, 203, 600])
    if transfer == "smpte2084":
        root = (nits / 10_000) ** (2610 / 16384)
        code = ((3424 / 4096 + 2413 / 128 * root) / (1 + 2392 / 128 * root)) ** (2523 / 32)
    else:
        scene = (nits / 1000) ** (1 / 1.2)
        code = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    luma = np.repeat(np.round(64 + 876 * code).astype(np.uint16), 32)

    def steps(frame):
        wide = np.zeros((frame.height, frame.planes[0].line_size // 2), np.uint16)
        wide[:, : len(luma)] = luma
        frame.planes[0].update(wide.tobytes())
        for plane in frame.planes[1:]:
            plane.update(np.full((plane.height, plane.line_size // 2), 512, np.uint16).tobytes())

    x265 = f"log-level=none:lossless=1:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    path = make(
        tmp_path / "a.mkv",
        1,
        codec="libx265",
        pix_fmt="yuv420p10le",
        size=(192, 64),
        options={"x265-params": x265},
        change=steps,
    )
    _, (frame,) = read(path)
    seen = [frame.image[32, 32 * i + 16] for i in range(6)]
    light = np.minimum(nits / 203, 1)
    srgb = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert all(int(c.max()) - int(c.min()) <= 2 for c in seen), "grey stays grey"
    grey = [float(c.mean()) for c in seen]
    assert grey[:4] == pytest.approx(srgb[:4], abs=3)
    assert 238 <= grey[4] < grey[5] <= 255


# --- times


@pytest.mark.parametrize(
    "times_ms",
    [
        [0, 40, 80, 40_080, 40_120],  # a gap of 40 s
        [0, 15_000, 30_000, 45_000],  # one picture every 15 s
        [0, 17, 50, 51, 1_000_003],
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_times_are_the_files_own_however_far_apart(tmp_path, name, times_ms):
    source, frames = read(make(tmp_path / name, times_ms=times_ms, options={"bf": "0"}))
    assert [round(1000 * f.time_s) for f in frames] == times_ms and not source.damaged


def test_a_stream_that_starts_at_an_hour_starts_at_nought(tmp_path):
    whole = make(tmp_path / "whole.mp4", 30)
    for name in ("late.ts", "late.mkv"):
        source, frames = read(copied(whole, tmp_path / name, shift_s=3600))
        assert len(frames) == 30 and not source.damaged
        assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(30)], abs=1e-3)


@pytest.mark.parametrize("name", ["cut.ts", "cut.mkv", "cut.mp4"])
def test_what_was_cut_without_a_key_frame_is_no_damage(tmp_path, name):
    """`ffmpeg -ss 0.4 -c copy`: pictures before the first key frame cannot be decoded, those after it can."""
    whole = make(tmp_path / "whole.mp4", 60, options={"g": "20", "keyint_min": "20", "sc_threshold": "0", "bf": "0"})
    source, frames = read(copied(whole, tmp_path / name, first=10, shift_s=-0.4))
    assert source.damaged == "" and len(frames) >= 40
    good = frames[-40:]
    assert max(error(f.image, 20 + i) for i, f in enumerate(good)) < 8
    assert np.diff([f.time_s for f in good]) == pytest.approx([0.04] * 39, abs=1e-3)


def test_an_mp4_that_hides_its_beginning(tmp_path):
    """What a cut at a key frame before the wanted place leaves: pictures with negative times, which nobody shows."""
    whole = make(tmp_path / "whole.mp4", 60, options={"g": "20", "bf": "0"})
    source, frames = read(copied(whole, tmp_path / "cut.mp4", shift_s=-0.4))
    assert len(frames) == 50 and not source.damaged
    assert max(error(f.image, 10 + f.id) for f in frames) < 8


# --- damage


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.mp4", "libx264", "yuv420p", {"g": "25", "qp": "10"}),
        ("a.mp4", "mpeg4", "yuv420p", {"b": "3000000"}),
        ("a.avi", "mjpeg", "yuvj420p", {}),
        ("a.avi", "mpeg4", "yuv420p", {"b": "3000000"}),
        ("a.ts", "mpeg2video", "yuv420p", {"b": "3000000"}),
    ],
)
def test_damage_in_the_middle_is_skipped_counted_and_told(tmp_path, name, codec, pix_fmt, options):
    path = zero(make(tmp_path / name, 100, codec=codec, pix_fmt=pix_fmt, options=options), 0.45, 0.52)
    source, frames = read(path)
    assert 40 <= len(frames) < 100
    assert frames[-1].time_s == pytest.approx(99 / 25, abs=0.002), "what comes after it has its right time"
    assert max(error(f.image, round(25 * f.time_s)) for f in frames) < 20, "no picture is built on a broken one"
    assert f"{name}: " in source.damaged and "damaged and left out, the first at" in source.damaged


def test_without_another_key_frame_it_goes_on_after_a_while(tmp_path):
    path = make(tmp_path / "a.mp4", 150, options={"g": "1000", "qp": "10", "bf": "0", "sc_threshold": "0"})
    _source, frames = read(zero(path, 0.3, 0.32))
    gap_s = np.diff([f.time_s for f in frames]).max()
    assert LONGEST_SKIP_S < gap_s < LONGEST_SKIP_S + 1 and frames[-1].time_s == pytest.approx(149 / 25, abs=0.002)


@pytest.mark.parametrize(
    ("frames", "promised", "end_s", "duration_s", "broken"),
    [
        (30, 30, 1.2, 1.2, False),
        (29, 30, 1.16, 1.2, False),  # off by one is common
        (15, 30, 0.6, 1.2, True),
        (15, 30, 1.2, 1.2, False),  # variable rate: half the frames, but the whole time
        (62, 62, 5.16, 4.96, False),
        (35, 30, 1.4, 1.2, False),
        (1, None, 0.04, None, False),
        (10, 30, 0.4, None, True),
    ],
)
def test_broke_off(frames, promised, end_s, duration_s, broken):
    assert broke_off(frames, promised, end_s, duration_s) is broken


# --- names and changes


def test_a_name_with_a_colon(tmp_path, monkeypatch):
    make(tmp_path / "a.mp4", 5).rename(tmp_path / "10:30.mp4")
    monkeypatch.chdir(tmp_path)
    source, frames = read(Path("10:30.mp4"))
    assert source.name == "10:30.mp4" and len(frames) == 5


def test_a_name_with_a_pattern_is_a_name(tmp_path):
    for suffix in ("png", "jpg", "ppm", "sgi"):
        cv2.imwrite(str(tmp_path / "b01.png"), np.full((40, 50, 3), 10, np.uint8))
        if suffix == "sgi":
            make_sgi(tmp_path / "b%02d.sgi", 200)
            make_sgi(tmp_path / "b01.sgi", 10)
        else:
            cv2.imwrite(str(tmp_path / f"b%02d.{suffix}"), np.full((40, 50, 3), 200, np.uint8))
            cv2.imwrite(str(tmp_path / f"b01.{suffix}"), np.full((40, 50, 3), 10, np.uint8))
        _, (frame,) = read(tmp_path / f"b%02d.{suffix}")
        assert abs(frame.image.mean() - 200) < 3, suffix


def make_sgi(path: Path, grey: int) -> None:
    """A picture of a kind that Pillow is not asked for."""
    Pillow.fromarray(np.full((40, 50, 3), grey, np.uint8)).save(path)


def test_a_size_that_changes_on_the_way_is_followed(tmp_path):
    options = {"qp": "10", "bf": "0"}
    a = make(tmp_path / "a.ts", 10, size=(480, 270), options=options)
    b = make(tmp_path / "b.ts", 10, size=(200, 270), options=options)
    (tmp_path / "c.ts").write_bytes(a.read_bytes() + b.read_bytes())
    source, frames = read(tmp_path / "c.ts")
    assert [f.image.shape[:2] for f in frames] == [(270, 480)] * 10 + [(270, 200)] * 10
    times = [f.time_s for f in frames]
    assert not source.damaged, "recordings that were joined are whole"
    assert times[:10] == pytest.approx([i / 25 for i in range(10)], abs=1e-3)
    assert np.diff(times).min() > 0 and times[-1] == pytest.approx(19 / 25, abs=0.02)
    assert error(frames[15].image, 5) < 6


def test_an_aspect_that_changes_on_the_way_is_followed(tmp_path):
    options = {"g": "10", "b": "3000000"}
    a = make(tmp_path / "a.mpg", 10, codec="mpeg2video", size=(720, 576), aspect=Fraction(16, 15), options=options)
    b = make(tmp_path / "b.mpg", 10, codec="mpeg2video", size=(720, 576), aspect=Fraction(64, 45), options=options)
    (tmp_path / "c.mpg").write_bytes(a.read_bytes() + b.read_bytes())
    _, frames = read(tmp_path / "c.mpg")
    assert {f.image.shape[1] for f in frames[:9]} == {768} and {f.image.shape[1] for f in frames[-9:]} == {1024}


@pytest.mark.parametrize("sound", ["libvorbis", "libopus", None])
def test_theora_is_read_whatever_sound_it_has(tmp_path, sound):
    """PyAV has no encoder of Theora; the program of imageio-ffmpeg has."""
    path = tmp_path / "clip.ogv"
    with_sound = ["-f", "lavfi", "-i", "sine=d=2", "-c:a", sound] if sound else []
    moving = "testsrc=d=2:r=25:size=160x120"
    command = [
        ffmpeg(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        moving,
        *with_sound,
        "-c:v",
        "libtheora",
        "-q:v",
        "9",
        "-y",
        path,
    ]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    source, frames = read(path)
    assert len(frames) == 50 and not source.damaged
    assert [f.time_s for f in frames] == pytest.approx([i / 25 for i in range(50)], abs=1e-3)
    assert frames[0].image.shape == (120, 160, 3) and frames[0].image.std() > 50
    assert not np.array_equal(frames[0].image, frames[-1].image)


# --- stills


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_picture_stands_as_the_camera_was_held(tmp_path, suffix, orientation, turns):
    upright = picture(0)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(upright, -turns)
    Pillow.fromarray(np.ascontiguousarray(stored[..., ::-1])).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    _, (frame,) = read(tmp_path / f"a.{suffix}")
    assert frame.image.shape == upright.shape
    assert np.abs(frame.image.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_animations_have_their_own_times(tmp_path, suffix):
    durations_ms = [100, 250, 40, 1000]
    pictures = [Pillow.fromarray(np.full((48, 64, 3), 60 * i + 20, np.uint8)) for i in range(4)]
    pictures[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pictures[1:], duration=durations_ms, loop=0)
    _source, frames = read(tmp_path / f"a.{suffix}")
    assert [f.image.mean() for f in frames] == pytest.approx([20, 80, 140, 200], abs=8)
    assert [f.time_s for f in frames] == pytest.approx([0, 0.1, 0.35, 0.39], abs=1e-3)


def test_sixteen_bits_of_grey_and_four_inks(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((40, 50), 200 * 257, np.uint16))
    Pillow.fromarray(np.full((40, 50, 3), 200, np.uint8)).convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    for name in ("deep.png", "inks.jpg"):
        _, (frame,) = read(tmp_path / name)
        assert frame.image.mean() == pytest.approx(200, abs=6), name


# --- what cannot be read


def test_the_reason_is_said(tmp_path):
    with av.open(str(tmp_path / "sound.m4a"), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        for _ in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48000
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    picture_of_text = tmp_path / "notes.txt"
    picture_of_text.write_text("hello\n" * 50)
    cut = tmp_path / "cut.jpg"
    Pillow.fromarray(picture(0)).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    unknown = make(tmp_path / "unknown.avi", 5, codec="mjpeg", pix_fmt="yuvj420p")
    unknown.write_bytes(unknown.read_bytes().replace(b"MJPG", b"QZQZ"))
    for path, reason in [
        (tmp_path / "sound.m4a", "has no video track, only audio"),
        (picture_of_text, "is not a video or picture"),
        (cut, "cut.jpg is cut off or damaged"),
        (unknown, "coded in a way that"),
    ]:
        with pytest.raises(SourceError, match=reason):
            open_source(str(path))


def test_an_encrypted_file_is_called_so(tmp_path):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    kid = {"encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}
    path = make(tmp_path / "locked.mp4", 20, container=key | kid)
    with pytest.raises(SourceError, match="is encrypted"):
        open_source(str(path))


def test_a_cover_picture_is_no_video(tmp_path):

    class Track:
        disposition, type = av.stream.Disposition.attached_pic, "video"

    class Container:
        streams = type("Streams", (list,), {"video": [Track()]})([Track()])
        format = av.ContainerFormat("mp3", "r")

    with pytest.raises(SourceError, match="no video track, only a cover picture"):
        video_track(Container(), "song.mp3")


@pytest.mark.parametrize("rotation", [0, 90])
def test_pictures_do_not_outlive_their_turn(tmp_path, rotation):
    """Frames that wait for Python's collector held 150 MB at 480x270, and their memory could not be used again."""
    path = make(tmp_path / "clip.mp4", 50, rotation=rotation)
    gc.collect()
    gc.disable()
    try:
        source = open_source(str(path))
        assert sum(1 for _ in source) == 50
        assert sum(type(one) is av.VideoFrame for one in gc.get_objects()) <= 2
    finally:
        gc.enable()
