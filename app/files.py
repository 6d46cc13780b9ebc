"""Files that a run writes: checked before anything is opened, and failures that name the file."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from app.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


STDOUT = "-"


def check_writable(path: Path) -> None:
    """Raises OutputError where a file cannot be made or replaced at `path`; changes nothing on disk."""
    if str(path) == STDOUT:
        return
    try:
        _check_writable(path, path.parent)
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a zero byte, a loop of links
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error


def draft_of(path: Path) -> Path:
    """Where a file is written until it is complete: beside it, with the same suffix."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _check_writable(path: Path, folder: Path) -> None:
    with suppress(FileNotFoundError):
        path.stat()  # what pathlib's questions below would answer with a plain no
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give a file name in it")
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {folder}. Make it, or choose another path")
    if path.exists() and not path.is_file() and str(path) != os.devnull:
        raise OutputError(f"{path} is not a regular file: choose another path")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission")


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file that is no larger than `most` bytes. Raises OSError and ValueError."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return content


class Stdout:
    """Standard output as it was when the program began: what is printed for people goes elsewhere meanwhile."""

    def write(self, text: str) -> None:
        try:
            sys.__stdout__.write(text)
            sys.__stdout__.flush()
        except OSError as error:  # the reader at the other end of the pipe has ended
            raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """It stays open: it is not ours."""


class TextFile:
    """A text file for writing, line by line, whose failures are OutputErrors that name it."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        self._path = path
        with self._failures():
            self._file = path.open("a" if append else "w", encoding="utf-8", buffering=1)
            if append and _ends_within_a_line(path):
                self._file.write("\n")

    def write(self, text: str) -> None:
        with self._failures():
            self._file.write(text)

    def flush(self) -> None:
        with self._failures():
            self._file.flush()

    def close(self) -> None:
        """May be called twice."""
        with self._failures():
            self._file.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written: {error.strerror or error}; lines written before are complete"
            ) from error


def _ends_within_a_line(path: Path) -> bool:
    """As a power failure leaves a file."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
