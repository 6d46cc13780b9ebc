"""One full-screen window a screen: a second start says that one is there, instead of covering it or losing its camera."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import DisplayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def lock_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The lock file of this user and screen. The system releases the lock however the process ends."""
    screen = environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY") or "screen"
    user = os.getuid() if hasattr(os, "getuid") else 0
    name = f"elastic-faces-{user}-{re.sub(r'[^A-Za-z0-9.-]', '_', screen)}.lock"
    return Path(environment.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), name)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Raises DisplayError where another process has the screen. Where that cannot be found out, the start goes on."""
    try:
        import fcntl

        file = path.open("a+", encoding="ascii")
    except (ImportError, OSError):
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = f" (process {number})" if (number := file.read(20).strip()).isdecimal() else ""
            raise DisplayError(
                f"Elastic Faces shows a full-screen window on this screen already{holder}. End that one first (Q), or start "
                "this one without --fullscreen"
            ) from None
        except OSError:
            pass  # a file system without locks
        with suppress(OSError):
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield
