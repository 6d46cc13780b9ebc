"""Sound is copied, in step, and left out with a word where it does not fit."""

from __future__ import annotations

import av
import numpy as np
import pytest

from app.domain import Frame, Result
from app.mailbox import WhenFull
from app.outputs.sound import Sound
from app.outputs.video import VideoWriter
from tests.support.builders import make_stats


def with_sound(path, codec, shift_s=0.0):
    """Two seconds of pictures and of a tone, both beginning at `shift_s` of the file's clock."""
    with av.open(str(path), "w") as out:
        video, tone = out.add_stream("mpeg4", rate=25), out.add_stream(codec, rate=48000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tone.layout = "mono"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * i, np.uint8), format="bgr24")
            frame.pts = i + round(25 * shift_s)
            out.mux(video.encode(frame))
        wave = (0.3 * np.sin(np.arange(96000) / 10)).astype(np.float32)
        for start in range(0, 96000, 960):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 960], format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48000, start + round(48000 * shift_s)
            for one in av.AudioResampler(tone.format, "mono", 48000).resample(frame):
                out.mux(tone.encode(one))
        out.mux(video.encode())
        out.mux(tone.encode())
    return path


def annotate(target, sound, times_s):
    writer = VideoWriter(target, WhenFull.WAIT, sound=sound)
    for i, time_s in enumerate(times_s):
        writer.deliver(Result(Frame(i, np.zeros((48, 64, 3), np.uint8), time_s, 0.0), (), make_stats()))
    writer.close()


def packets(path, kind):
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(streams) if p.size] if streams else []


@pytest.mark.parametrize(
    ("target", "codec"), [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.mov", "aac"), ("a.webm", "libopus")]
)
@pytest.mark.parametrize("shift_s", [0.0, 10.0])
def test_sound_is_copied_in_step(tmp_path, target, codec, shift_s):
    source = with_sound(tmp_path / "source.mkv", codec, shift_s)
    annotate(tmp_path / target, Sound(source, shift_s, tmp_path / target), [i / 25 for i in range(50)])
    before, after = packets(source, "audio"), packets(tmp_path / target, "audio")
    assert len(after) > 80
    heard = {data: at_s for at_s, data in after}
    same = [(at_s - shift_s, heard[data]) for at_s, data in before if data in heard]
    assert len(same) > 80
    first_s = packets(tmp_path / target, "video")[0][0]
    assert max(abs(a - (b - first_s)) for a, b in same[10:]) < 0.03


def test_a_part_of_a_file_has_that_part_of_the_sound(tmp_path):
    source = with_sound(tmp_path / "source.mkv", "aac")
    annotate(tmp_path / "a.mkv", Sound(source, 0.0, tmp_path / "a.mkv"), [1.0, 1.04, 1.08])
    times = [at_s for at_s, _ in packets(tmp_path / "a.mkv", "audio")]
    assert 0.95 < times[0] < 1.05 and times[-1] < 1.35


def test_what_a_file_cannot_hold_is_left_out_and_told(tmp_path):
    source = with_sound(tmp_path / "source.mkv", "aac")
    sound = Sound(source, 0.0, tmp_path / "a.webm")
    annotate(tmp_path / "a.webm", sound, [0, 0.04])
    assert "the sound is left out: .webm cannot hold aac" in sound.remark and not packets(tmp_path / "a.webm", "audio")
