"""By how much people move between the frames of a clip, and how much the crop of a head that keeps still trembles."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app.settings import Settings

STILL = 0.02  # a head whose box moves by less than this share a frame, on average


def watch_clip(path: Path, settings: Settings) -> dict[str, Any]:
    """By how much people move between frames, and by how much the crop of a head that keeps still trembles."""
    moved: list[tuple[float, float, float]] = []
    trembles: dict[str, list[float]] = {}
    for name, watch in (("by the follower", _followed), ("by the trees", _by_trees)):
        people = watch(path, settings)
        for matrices in people.values():
            if name == "by the follower":
                moved += movements(matrices)
            if (jitter := tremble(matrices)) is not None:
                trembles.setdefault(name, []).append(jitter)
    shift, size, turn = (np.array(moved).reshape(-1, 3)).std(axis=0) if moved else (math.nan,) * 3
    print(
        f"{path.name}: between frames, standard deviations over {len(moved)} steps: shift {shift:.1%} of the box a direction, "
        f"size {size:.1%}, turn {turn:.1f} degrees; tremble of still heads, px of a 96 px crop: "
        + ", ".join(f"{np.median(v):.2f} {name} ({len(v)} people)" for name, v in trembles.items())
    )
    return {
        "name": path.name,
        "movement": [float(shift), float(size), float(turn)],
        "tremble_px": {k: float(np.median(v)) for k, v in trembles.items()},
    }


def _followed(path: Path, settings: Settings) -> dict[int, list[tuple[int, Any]]]:
    """Everybody's crops, with the frame's number."""
    from app.compose import load_manifest, make_front_end
    from app.sources.open import open_source

    front_end = make_front_end(settings, load_manifest(settings.model).template, live=False)
    people: dict[int, list[tuple[int, Any]]] = {}
    for frame in open_source(str(path)):
        for face in front_end(frame).faces:
            people.setdefault(face.person, []).append((frame.id, face.matrix))
    return people


def _by_trees(path: Path, settings: Settings) -> dict[int, list[tuple[int, Any]]]:
    """The same people by Viola-Jones' box and the landmarks of regression trees, where it finds them."""
    from align.geometry import Template
    from align.landmarks import LandmarkPredictor
    from app.compose import load_manifest, make_front_end
    from app.faces.detector import same_place
    from app.faces.search import Search
    from app.faces.viola_jones import ViolaJones
    from app.sources.open import open_source

    template = load_manifest(settings.model).template
    front_end, fit, predict = (
        make_front_end(settings, template, live=False),
        Template(template).fit,
        LandmarkPredictor(),
    )
    search = Search(ViolaJones(1.1, 3), 24.0, every_frame=True)
    people: dict[int, list[tuple[int, Any]]] = {}
    for frame in open_source(str(path)):
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
        boxes = [s.box for s in search(frame.image, gray, frame.time_s, [])]
        for face in front_end(frame).faces:
            if near := next((b for b in boxes if same_place(b, face.box)), None):
                people.setdefault(face.person, []).append((frame.id, fit(predict(gray, near))))
    return people


def _steps(matrices: Sequence[tuple[int, Any]]) -> list[tuple[Any, Any]]:
    """Crops of successive frames."""
    pairs = itertools.pairwise(matrices)
    return [(a, b) for (i, a), (j, b) in pairs if j == i + 1]


def movements(matrices: Sequence[tuple[int, Any]]) -> list[tuple[float, float, float]]:
    """Shift along x (share of the crop), logarithm of the size's ratio and turn in degrees, from frame to frame; x and y count
    as two steps."""
    out = []
    for a, b in _steps(matrices):
        step = np.vstack([b, [0, 0, 1]]) @ np.linalg.inv(np.vstack([a, [0, 0, 1]]))
        moved = step[:2, :2] @ [0.5, 0.5] + step[:2, 2] - 0.5
        size, turn = math.log(math.hypot(step[0, 0], step[1, 0])), math.degrees(math.atan2(step[1, 0], step[0, 0]))
        out += [(float(moved[0]), size, turn), (float(moved[1]), size, turn)]
    return out


def tremble(matrices: Sequence[tuple[int, Any]]) -> float | None:
    """By how much the crop's corners jump about their own path, px of a 96 px crop: root mean square of the second difference
    over the square root of 6, which for white noise is its standard deviation. None for a head that moves, or is seen for
    less than 20 frames."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float)
    if len(matrices) < 20 or np.std([m[0] for m in movements(matrices)]) > STILL:
        return None
    paths = []
    middle = np.linalg.inv(np.vstack([matrices[len(matrices) // 2][1], [0, 0, 1]]))
    for _, matrix in matrices:
        step = np.vstack([matrix, [0, 0, 1]]) @ middle
        paths.append(corners @ step[:2, :2].T + step[:2, 2])
    frames = np.array([i for i, _ in matrices])
    path = np.array(paths) * 96
    second = path[2:] - 2 * path[1:-1] + path[:-2]
    together = (frames[2:] - frames[:-2]) == 2
    return float(np.sqrt((second[together] ** 2).sum(axis=-1).mean() / 6))
