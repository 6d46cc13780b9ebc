"""Damaged and hostile input for every loader: each ends with a result or with its own error, soon, and within memory.

The quick profile is the same few hundred cases every time; `make fuzz` tries some ten thousand new ones.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import config
from app.commands.replay import Outputs, Question, replay_log
from app.errors import AppError, UsageError
from app.network.profiles import ProfileFile, read_profile
from app.settings import options
from models.manifest import WEIGHTS, Manifest, ManifestError
from scheduler.log import LogError, LogWriter
from scheduler.reading import read_log
from tests.support.fakes import make_profile, make_record
from tests.support.paths import ROOT

HUGE = "1" + "0" * 5000
NASTY = [
    b"", b"\0", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 100_000, b'{"a":' * 50_000, b'"' + b"x" * 2_000_000, HUGE.encode(),
    b'{"schema": ' + HUGE.encode() + b"}", b'{"schema": 1e999}', b'{"schema": NaN}', b'{"schema": "\\ud800"}', b"{" + b" " * 3_000_000,
    b"\xef\xbb\xbf{}", b'{"schema":1,"schema":2}', b"a = " * 1000, b"a.b.c.d = 1\n" * 1000, b"x" * 3_000_000,
]  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.integers(),
    st.sampled_from([10**18, -(10**30), 10**4000, 2**63]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\0", "../x", "/dev/zero", "/etc/passwd", "x" * 5000, "\ud800", "NaN", "1e999"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A copy of a JSON document with up to three of its parts replaced, taken away or doubled."""
    copy = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        parent, at = None, copy
        while isinstance(at, dict | list) and at and (parent is None or draw(st.integers(0, 4))):
            key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
            parent, where, at = at, key, at[key]
        if parent is None:
            return draw(VALUES)
        what = draw(st.sampled_from(["replace", "remove", "double"]))
        if what == "replace":
            parent[where] = draw(VALUES)
        elif what == "remove":
            del parent[where]
        elif isinstance(parent, list):
            parent.insert(where, at)
        else:
            parent[draw(st.text(max_size=5))] = at
    return copy


@st.composite
def scrambled(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut off, changed, taken out and put in."""
    out = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(out) - 1)))
        what = draw(st.sampled_from(["cut", "change", "remove", "insert", "repeat"]))
        if what == "cut":
            del out[at:]
        elif what == "change" and out:
            out[at] = draw(st.integers(0, 255))
        elif what == "remove":
            del out[at : at + draw(st.integers(1, 40))]
        elif what == "insert":
            out[at:at] = draw(st.binary(max_size=12))
        else:
            out[at:at] = out[at : at + 60] * draw(st.integers(1, 20))
    return bytes(out)


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def loads_or_says_why(load: Any, path: Path, content: bytes, *errors: type[Exception]) -> Any:
    """The result, or None where the loader refused with its own error in a message that people can read."""
    path.write_bytes(content)
    try:
        return load(path)
    except errors as error:
        assert 10 < len(str(error)) < 2000, f"{len(str(error))} characters: {str(error)[:300]}"
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


# --- configuration ----------------------------------------------------------------------------------------------------

NAMES = [o.name for o in options()]
TOML = "".join(line[1:] + "\n" for line in config.template().splitlines() if line[:1] == "#" and line[1:2].isalpha())
TOML_VALUES = st.one_of(
    SCALARS.filter(lambda v: v is not None).map(lambda v: json.dumps(v, ensure_ascii=False)),
    st.sampled_from(["nan", "-inf", "0x" + "f" * 9000, HUGE, "1979-05-27", "{a = 1}", "[1, [2]]", "'''", "true"]),
)


@given(content=st.one_of(st.sampled_from(NASTY), scrambled(TOML.encode()), st.binary(max_size=200)))
def test_configuration_of_any_bytes(folder, content):
    loads_or_says_why(lambda p: config.load({}, p, {}), folder / "c.toml", content, UsageError)


@given(values=st.dictionaries(st.sampled_from([*NAMES, "x", "max_face"]), TOML_VALUES, max_size=4))
def test_configuration_of_any_values(folder, values):
    text = "".join(f"{name} = {value}\n" for name, value in values.items()).encode("utf-8", "replace")
    loaded = loads_or_says_why(lambda p: config.load({}, p, {}), folder / "v.toml", text, UsageError)
    if loaded:
        assert set(loaded.origins) <= set(values) and config.in_force(loaded) and loaded.summary()


@given(name=st.one_of(st.sampled_from(NAMES), st.text(max_size=12)), value=st.one_of(st.text(), SCALARS.map(repr)))
def test_any_environment(name, value):
    try:
        config.load({}, None, {config.PREFIX + name.upper(): value})
    except UsageError as error:
        assert len(str(error)) < 2000


# --- manifest, latency log, latency profile ---------------------------------------------------------------------------

SHIPPED = json.loads((WEIGHTS / "mobilenet_v1_075.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def beside(folder: Path) -> Path:
    """A folder with the network file that the manifest names (empty: it is not to be read)."""
    (folder / SHIPPED["network"]["file"]).write_bytes(b"")
    return folder


@given(content=st.one_of(st.sampled_from(NASTY), damaged(SHIPPED).map(written), scrambled(written(SHIPPED))))
@example(content=written({**SHIPPED, "network": {**SHIPPED["network"], "file": "x" * 5000}}))
def test_manifest(beside, content):
    manifest = loads_or_says_why(Manifest.read, beside / "m.json", content, ManifestError)
    if manifest:
        with pytest.raises(ManifestError, match="sha256 differs"):
            manifest.verify()


def log_lines() -> list[dict]:
    """A log as it is written: a header, frames, a drop."""

    class Lines(list):
        write, flush, close = list.append, lambda self: None, lambda self: None

    lines = Lines()
    header = {
        "machine": {}, "model": {"name": "m", "sha256": ""}, "settings": {"budget_ms": 33.0, "align_share": 0.6},
        "policy": {"name": "deepest-that-fits", "margin": 1.1, "headroom": 0.1}, "profile": make_profile().to_json(),
    }  # fmt: skip
    writer = LogWriter(lines, header)
    for i in range(4):
        writer.frame(make_record(id=i, time_s=i / 25))
    writer.drop(4, "grab_full")
    return [json.loads(line) for line in lines]


LOG = log_lines()


def as_log(records: Any) -> bytes:
    return b"".join(written(r) + b"\n" for r in records) if isinstance(records, list) else written(records)


@given(content=st.one_of(st.sampled_from(NASTY), damaged(LOG).map(as_log), scrambled(as_log(LOG))))
@example(content=as_log([LOG[0], {**LOG[1], "tail": None}]))
@example(content=as_log([LOG[0], {**LOG[1], "tail": 0}]))
def test_latency_log_and_its_replay(folder, content):
    path = folder / "l.jsonl"
    if loads_or_says_why(read_log, path, content, LogError):
        for budget_ms, policy in ((None, None), (20.0, "auto")):
            try:
                replay_log(path, Question(budget_ms=budget_ms, policy=policy), Outputs(json=folder / "report.json"))
            except AppError as error:
                assert len(str(error)) < 2000


PROFILE = ProfileFile(
    created="2026-01-01", machine={}, model={"name": "m", "sha256": ""}, provider="p", threads=2, profile=make_profile()
).to_json()


@given(content=st.one_of(st.sampled_from(NASTY), damaged(PROFILE).map(written), scrambled(written(PROFILE))))
def test_latency_profile(folder, content):
    loads_or_says_why(read_profile, folder / "p.json", content, UsageError)


@pytest.mark.parametrize("load", [Manifest.read, read_log, read_profile, lambda p: config.load({}, p, {})])
def test_what_never_ends_is_not_read(load):
    for path in ("/dev/zero", "/proc/self/mem", "/"):
        if Path(path).exists():
            with pytest.raises((UsageError, ManifestError, LogError), match=r"regular file|cannot be read|not TOML"):
                load(Path(path))


# --- video ------------------------------------------------------------------------------------------------------------

READ_ALL = """
import sys
from app.errors import SourceError
from app.sources.open import open_source
for path in sys.stdin.read().split("\\n"):
    print(path, end=" ", flush=True)
    try:
        source = open_source(path)
        frames = sum(1 for frame in source)
        print("read", frames, flush=True)
    except SourceError as error:
        assert 10 < len(str(error)) < 2000
        print("refused", flush=True)
"""
# Address space of the reading process: OpenCV and its libraries take 1 GB of it, the largest picture allowed about 1 GB.
LIMIT_BYTES = 4 << 30


def videos(folder: Path) -> list[Path]:
    """Six frames of noise in the containers that people have."""
    pictures = list(np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8))
    paths = [folder / name for name in ("v.mp4", "v.mkv", "v.avi", "v.gif", "v.png", "v.jpg", "v.webp")]
    for path in paths[:2]:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode())
    writer = cv2.VideoWriter(str(paths[2]), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(paths[3], save_all=True, append_images=images[1:], duration=40)
    for path in paths[4:]:
        images[0].save(path)
    return paths


def claiming(folder: Path) -> list[Path]:
    """Headers that promise pictures of absurd sizes in a few bytes."""
    made = []
    png = (folder / "v.png").read_bytes()
    for side in (16_000, 30_000, 100_000, 2**31 - 1):
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        made.append(folder / f"claim_{side}.png")
        made[-1].write_bytes(
            png[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
        )
    for width, height in ((20_000, 10_000), (65_535, 65_535)):
        screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\xf0\0\0\0\0\0\xff\xff\xff"
        made.append(folder / f"claim_{width}.gif")
        made[-1].write_bytes(screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0;")
    avi = bytearray((folder / "v.avi").read_bytes())
    for chunk, at in ((b"strf", 12), (b"avih", 40)):
        struct.pack_into("<ii", avi, avi.find(chunk) + at, 100_000, 100_000)
    made.append(folder / "claim.avi")
    made[-1].write_bytes(avi)
    return made


def mutants(folder: Path, originals: list[Path], count: int, seed: int) -> list[Path]:
    chance, made = random.Random(seed), []
    for i in range(count):
        original = chance.choice(originals)
        content = bytearray(original.read_bytes())
        for _ in range(chance.choice([0, 1, 3, 30])):
            # Headers and indices, which are at the ends, more often than pictures.
            reach = chance.choice([64, 600, len(content)])
            at = chance.randrange(min(reach, len(content)))
            at = at if chance.random() < 0.6 else len(content) - 1 - at
            size = chance.choice([1, 1, 2, 4])
            content[at : at + size] = chance.choice(
                [b"\xff" * size, b"\0" * size, chance.randbytes(size), b"\x7f" + b"\xff" * (size - 1)]
            )
        if chance.random() < 0.4:
            del content[chance.randrange(len(content)) :]
        made.append(folder / f"m{i}{original.suffix}")
        made[-1].write_bytes(content or b"\0")
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by setrlimit")
def test_videos(folder):
    originals = videos(folder)
    count = 120 if settings.default.max_examples <= 100 else settings.default.max_examples
    seed = 1 if settings.default.derandomize else random.SystemRandom().randrange(2**32)
    for start in range(0, count, 500):
        tried = [
            *(originals + claiming(folder) if start == 0 else []),
            *mutants(folder, originals, min(500, count - start), seed + start),
        ]
        done = subprocess.run(
            [sys.executable, "-c", READ_ALL], input="\n".join(map(str, tried)), cwd=ROOT, capture_output=True, text=True,
            timeout=170, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
        )  # fmt: skip
        said = done.stdout.splitlines()
        assert done.returncode == 0, f"seed {seed + start}, at {said[-1:]}: {done.returncode} {done.stderr[-2000:]}"
        assert len(said) == len(tried)
        if start == 0:
            assert [line.split(" ", 1)[1] for line in said[: len(originals)]] == ["read 6"] * 4 + ["read 1"] * 3
            claims = dict(
                zip(
                    [p.name for p in claiming(folder)],
                    [line.split()[1] for line in said[len(originals) :]],
                    strict=False,
                )
            )
            assert claims.pop("claim.avi") == "read", "its pictures say better"
            assert set(claims.values()) == {"refused"}
