"""`cameras`: what can be given as `--source`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from app.command import command

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "cameras",
        run,
        "List the cameras, with their sizes and what is in use.",
        "cameras",
    )
    p.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints one line per camera, or one JSON list; none is not an error."""
    from app.sources.cameras import line, list_cameras

    found = list_cameras()
    if args.json:
        print(json.dumps([dataclasses.asdict(camera) for camera in found], indent=1))
        return 0
    if not found:
        print(f"No camera was found.{_hint()}")
        return 0
    for camera in found:
        print(line(camera))
    names = [camera.name for camera in found]
    by_name = f', or --source "{names[0]}"' if names.count(names[0]) == 1 else ""
    print(f"Choose one by number, path or part of its name: main.py run --source {found[0].index}{by_name}")
    return 0


def _hint() -> str:
    if sys.platform == "linux":
        return " Plug one in; in a virtual machine or container it must be passed through (docs/guides/deploy.md)."
    try:
        import cv2_enumerate_cameras  # noqa: F401
    except ImportError:
        return " Their names are known only with `pip install cv2-enumerate-cameras`; `--source 0` may work without."
    return " Plug one in, and allow cameras in the system's privacy settings; `--source 0` may work all the same."
