"""Every detector that `--detector` offers, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import UsageError

if TYPE_CHECKING:
    from app.faces.detector import Detector


def open_detector(spec: str) -> Detector:
    """`viola-jones`, `dlib-hog` or `yunet:PATH`. Raises UsageError, or ModelError for a file that is no such network."""
    from app.faces.other_detectors import DlibHog, YuNet
    from app.faces.viola_jones import ViolaJones

    name, _, path = spec.partition(":")
    if name == "yunet" and path:
        return YuNet(Path(path))
    if spec not in ("viola-jones", "dlib-hog"):
        raise UsageError(f"--detector must be viola-jones, dlib-hog or yunet:PATH, got {spec!r}")
    return ViolaJones() if spec == "viola-jones" else DlibHog()
