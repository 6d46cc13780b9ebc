"""Elastic Faces, installed: the one name that it takes among a Python's packages.

Its rooms (`app`, `models`, `align`, `scheduler`) lie beside this file in `rooms/`, laid out as in the repository. They are
found by their own names only in a program that imports `elastic_faces`. Why: docs/decisions/0032.

    from elastic_faces import elastify      # the same as `from models import elastify` in a checkout
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOMS = Path(__file__).resolve().with_name("rooms")


def _open_rooms() -> None:
    for name in ("app", "models", "align", "scheduler"):
        place = getattr(sys.modules.get(name), "__file__", None)
        if place and ROOMS not in Path(place).resolve().parents:
            raise ImportError(
                f"a package called {name!r} was imported before, from {place}; elastic_faces has one of that name: "
                "import elastic_faces first, or keep the two in separate programs"
            )
    if str(ROOMS) not in sys.path:
        sys.path.insert(0, str(ROOMS))


_open_rooms()


def main() -> int:
    """The console command `elastic-faces`: what `python main.py` is in a checkout."""
    from app.cli import main as run

    try:
        return run()
    except KeyboardInterrupt:
        return 130


def __getattr__(name: str) -> Any:
    import models

    if name in models.__all__:
        return getattr(models, name)
    raise AttributeError(f"elastic_faces has no {name!r}; it has {', '.join(models.__all__)}")
