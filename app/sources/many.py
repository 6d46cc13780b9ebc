"""Several sources out of what was asked for: files, folders, patterns, series of numbered pictures, standard input."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.errors import SourceError

STDIN = "-"
VIDEOS = (
    *(
        "3gp",
        "asf",
        "avi",
        "dv",
        "flv",
        "gif",
        "m2ts",
        "m4v",
        "mjpeg",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "mxf",
    ),
    *("ogv", "ts", "vob", "webm", "wmv"),
)
STILLS = ("avif", "bmp", "heic", "heif", "jpeg", "jpg", "jp2", "png", "ppm", "tif", "tiff", "webp")
SUFFIXES = frozenset(f".{s}" for s in (*VIDEOS, *STILLS))
NUMBERED = re.compile(r"%0?(\d*)d")


def expand(specs: Sequence[str]) -> list[str]:
    """Every source that is meant, in order, none twice: a folder stands for the videos and pictures in it, by name.

    What is neither folder nor pattern is left as it is: a file, a camera, a URL. Raises SourceError where nothing is found.
    """
    found = [one for spec in specs for one in _expand(spec.strip())]
    return list(dict.fromkeys(found))


def _expand(spec: str) -> list[str]:
    if spec.lower().startswith("file:"):
        spec = unquote(urlsplit(spec).path)
    with suppress(OSError, ValueError, RuntimeError):
        path = Path(spec).expanduser()
        if spec and path.is_dir():
            return _in_folder(path)
        if spec and path.exists():
            return [spec]
    if glob.has_magic(spec) and "://" not in spec:
        matches = sorted(m for m in glob.glob(str(Path(spec).expanduser()), recursive=True) if Path(m).is_file())
        if not matches:
            raise SourceError(
                f"No file matches {spec[:200]!r}. Check the pattern, and quote it: --source 'footage/*.mp4'."
            )
        return matches
    return [spec]


def _in_folder(folder: Path) -> list[str]:
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{folder} cannot be listed: {error.strerror or error}.") from error
    media = [str(p) for p in files if p.suffix.lower() in SUFFIXES]
    if not media:
        raise SourceError(
            f"{folder} is a folder with no video or picture in it ({len(files)} other files). Files in folders below are "
            f"found by a pattern: --source '{folder}/**/*.mp4'."
        )
    return media


def run_together(specs: Sequence[str], *, realtime: bool) -> bool:
    """Whether several sources are cameras that run at the same time; else they are files, read one after the other.

    Raises SourceError for files beside cameras, unless they are played in real time.
    """
    if realtime:
        return True
    live = [spec for spec in specs if is_live(spec)]
    if live and len(live) < len(specs):
        file = next(spec for spec in specs if spec not in live)
        raise SourceError(
            f"{live[0]} goes on for ever, and {file[:200]!r} has an end: add --realtime to play it at its own rate beside "
            "cameras, or read cameras and files in two runs."
        )
    return bool(live)


def is_live(spec: str) -> bool:
    """Whether a source goes on by itself, as far as its name tells: an http address may lead to a file, so it counts as one."""
    if spec == STDIN or series(spec) or spec.lower().startswith("http"):
        return False
    with suppress(OSError, ValueError, RuntimeError):
        if Path(spec).expanduser().is_file():
            return False
    return not re.search(r"\.\w{2,4}$", spec) or "://" in spec


def series(spec: str) -> list[Path]:
    """The files of a series such as "shots/%04d.png", by number; none where it is not such a pattern, or a file's own name."""
    path = Path(spec).expanduser()
    if not NUMBERED.search(path.name) or path.exists():
        return []
    before, width, after = NUMBERED.split(path.name, maxsplit=1)
    digits = rf"\d{{{width}}}" if width else r"\d+"
    number = re.compile(re.escape(before) + f"({digits})" + re.escape(after))
    try:
        matches = [(int(m[1]), p) for p in path.parent.iterdir() if (m := number.fullmatch(p.name))]
    except OSError:
        return []
    return [p for _, p in sorted(matches)]
