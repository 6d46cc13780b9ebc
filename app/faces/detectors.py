"""Every detector that `--detector` offers, by its name: what looks in the frame's path, and what takes the second look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.faces.detector import Detector

BOTH = "both"
NAMES = (BOTH, "viola-jones", "centerface", "dlib-hog")


def open_detector(spec: str) -> Detector:
    """One of NAMES but `both`, or `yunet:PATH`. Raises UsageError, or ModelError where there is no such network."""
    from app.faces.centerface import CenterFace
    from app.faces.other_detectors import DlibHog, YuNet
    from app.faces.viola_jones import ViolaJones

    name, _, path = spec.partition(":")
    if name == "yunet" and path:
        return YuNet(Path(path))
    detectors: dict[str, Callable[[], Detector]] = {
        "viola-jones": ViolaJones,
        "centerface": CenterFace,
        "dlib-hog": DlibHog,
    }
    if spec not in detectors:
        raise UsageError(f"--detector must be {', '.join(NAMES)} or yunet:PATH, got {spec!r}")
    return detectors[spec]()


def open_detectors(spec: str) -> tuple[Detector | None, Detector | None]:
    """(detector in the frame's path, detector for the second look); either may be None.

    With `both` Viola-Jones works alone where CenterFace is not installed (see missing_detector). Raises as open_detector.
    """
    if spec == "centerface":
        return None, open_detector(spec)
    if spec != BOTH:
        return open_detector(spec), None
    if missing_detector(spec):
        return open_detector("viola-jones"), None
    return open_detector("viola-jones"), open_detector("centerface")


def missing_detector(spec: str) -> str:
    """What to tell people who asked for `both` where only one is installed; else ""."""
    from app.faces.centerface import HOW_TO_GET, centerface_file

    if spec != BOTH or centerface_file():
        return ""
    return (
        "only Viola-Jones looks for them, which misses small, turned and tilted faces. CenterFace finds those too: "
        f"`{HOW_TO_GET}`"
    )
