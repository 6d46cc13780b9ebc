"""Trains the landmark predictor: scenes with a teacher's landmarks, trees grown by dlib, leaf values fitted again.

Every step leaves its files in the training's folder and is skipped where they are there already, so that a stopped one goes
on where it was.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from align.geometry import Points, apply_similarity, fit_similarity
from align.landmark_scenes import (
    MAX_SPREAD,
    Scene,
    coarse_patch,
    fine_patch,
    make_scene,
    picture_rng,
    picture_turns,
    teacher_truth,
)
from align.landmarks import (
    COARSE_PX,
    TRAINING_PX,
    BoxXYWH,
    TeacherPredictor,
    box_in_patch,
    centred_mean_shape,
    coarse_points,
)
from align.shape_file import ShapeModel, read_shape_model, write_shape_model
from align.shape_fit import predict_shapes, refit_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Detect = Callable[[NDArray[np.uint8]], list[BoxXYWH]]
    Locate = Callable[[NDArray[np.uint8]], BoxXYWH]

SHARD = 500  # pictures a file of scenes


class LandmarkTrainingError(RuntimeError):
    """Training cannot go on: too few pictures, or files of another training in the folder."""


@dataclass(frozen=True)
class Growth:
    """Options of dlib's trainer for one of the two predictors; `ridge`: see refit_leaves."""

    levels: int
    trees: int
    depth: int = 4
    shrinkage: float = 0.1
    features: int = 500
    padding: float = 0.05
    ridge: float = 20.0


@dataclass(frozen=True)
class Recipe:
    """What a training depends on besides its pictures."""

    seed: int = 1
    grow_on: int = 21_500  # patches on which trees are grown; leaf values are fitted on all
    coarse: Growth = field(default_factory=lambda: Growth(levels=8, trees=50))
    fine: Growth = field(default_factory=lambda: Growth(levels=10, trees=170))
    leaf_bits: int = 8


@dataclass(frozen=True)
class Tools:
    """Made once per process: our detector; a box of the teacher's kind for an undistorted picture."""

    detector: Callable[[], Detect]
    locator: Callable[[], Locate]


def make_scenes(
    pictures: Sequence[Path], out: Path, tools: Tools, seed: int, workers: int, progress: Callable[..., Any]
) -> list[Path]:
    """Writes scenes-NNN.npz, SHARD pictures each, and returns their paths; those that are there already stay."""
    shards = []
    with get_context("spawn").Pool(workers, _begin, (tools, seed)) as pool:
        for start in progress(range(0, len(pictures), SHARD)):
            path = out / f"scenes-{start // SHARD:03d}.npz"
            shards.append(path)
            if path.exists():
                continue
            made = list(pool.imap(_scenes_of, pictures[start : start + SHARD], chunksize=10))
            partial = path.with_suffix(".partial.npz")
            arrays: dict[str, Any] = {k: np.concatenate([m[k] for m in made]) for k in made[0]}
            np.savez(partial, **arrays)
            partial.replace(path)
    return shards


_MADE: dict[str, Any] = {}


def _begin(tools: Tools, seed: int) -> None:
    cv2.setNumThreads(1)  # the processes are the parallel part
    _MADE.update(detect=tools.detector(), locate=tools.locator(), teacher=TeacherPredictor(), seed=seed)


def _scenes_of(path: Path) -> dict[str, NDArray[Any]]:
    """The scenes of one picture as arrays, without any where the teacher is unsure; spread is not a number where the file is
    no picture."""
    data = np.fromfile(path, np.uint8)
    gray = cast("NDArray[np.uint8] | None", cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None)
    rng = picture_rng(path.name, _MADE["seed"])
    spread, scenes = float("nan"), list[Scene]()
    if gray is not None:
        truth = teacher_truth(gray, _MADE["locate"](gray), _MADE["teacher"], rng)
        spread = truth.spread
        turns = picture_turns(rng) if spread <= MAX_SPREAD else []
        scenes = [make_scene(gray, truth.landmarks, rng, *turn, _MADE["detect"]) for turn in turns]
    coarse, fine, boxes = [], [], []
    for scene in scenes:
        coarse.append(coarse_patch(scene, rng))
        fine.append(fine_patch(scene, rng))
        boxes.append(_box_by_landmarks(scene.landmarks, scene.found))
    return {
        "spread": np.array([spread]),
        "turn": np.array([s.turn_deg for s in scenes]),
        "box": np.array(boxes).reshape(-1, 3),
        "coarse": np.array([p for p, _ in coarse], np.uint8).reshape(-1, COARSE_PX, COARSE_PX),
        "coarse_points": np.array([q for _, q in coarse], np.float32).reshape(-1, 47, 2),
        "fine": np.array([p for p, _ in fine], np.uint8).reshape(-1, TRAINING_PX, TRAINING_PX),
        "fine_points": np.array([q for _, q in fine], np.float32).reshape(-1, 47, 2),
    }


def _box_by_landmarks(landmarks: Points, box: BoxXYWH | None) -> list[float]:
    """Centre and side of a detected box in the frame of the mean shape; not a number where there is none."""
    if box is None:
        return [np.nan] * 3
    to_shape = fit_similarity(landmarks, centred_mean_shape())
    x, y = apply_similarity(to_shape, [[box[0] + box[2] / 2, box[1] + box[3] / 2]])[0]
    return [float(x), float(y), box[2] * float(np.hypot(*to_shape[:, 0]))]


def grow(patches: NDArray[np.uint8], points: NDArray[np.float32], growth: Growth, seed: int, threads: int) -> Any:
    """dlib's trainer on (n, size, size) patches with (n, points, 2) landmarks; returns its shape predictor."""
    import dlib

    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level = growth.levels, growth.trees
    options.tree_depth, options.nu = growth.depth, growth.shrinkage
    options.feature_pool_size, options.feature_pool_region_padding = growth.features, growth.padding
    # Patches are jittered copies already; dlib's own oversampling would start from other people's shapes.
    options.oversampling_amount = 1
    options.random_seed, options.num_threads, options.be_verbose = str(seed), threads, True
    corner, side = box_in_patch(patches.shape[1])
    rectangle = dlib.rectangle(round(corner), round(corner), round(corner + side), round(corner + side))
    faces = [
        [dlib.full_object_detection(rectangle, [dlib.point(int(x), int(y)) for x, y in np.rint(shape)])]
        for shape in points
    ]
    return dlib.train_shape_predictor(list(patches), faces, options)


def train_predictor(
    name: str,
    shards: Sequence[Path],
    recipe: Recipe,
    out: Path,
    threads: int,
    progress: Callable[..., Any],
    say: Callable[[str], None],
) -> bytes:
    """Grows, fits and rounds `coarse` or `fine`; returns the content of its file."""
    growth: Growth = getattr(recipe, name)
    patches = _gathered(shards, name)
    points = _gathered(shards, f"{name}_points")
    if len(patches) < 100:
        raise LandmarkTrainingError(f"only {len(patches)} scenes could be made: give more pictures of faces")
    if name == "coarse":
        points = np.stack([coarse_points(p) for p in points]).astype(np.float32)
    grown = out / f"{name}.grown.dat"
    if not grown.exists():
        say(f"{name}: growing {growth.levels} x {growth.trees} trees on {min(len(patches), recipe.grow_on)} patches")
        partial = grown.with_suffix(".partial")
        grow(patches[: recipe.grow_on], points[: recipe.grow_on], growth, recipe.seed, threads).save(str(partial))
        partial.replace(grown)
    model = read_shape_model(grown.read_bytes())
    corner, side = box_in_patch(patches.shape[1])
    targets = ((points - corner) / side).reshape(len(points), -1).astype(np.float32)
    sample = slice(0, min(2000, len(patches)))
    before = _error(model, patches[sample], targets[sample], corner, side)
    say(f"{name}: fitting the leaf values on {len(patches)} patches")
    refit_leaves(model, patches, targets, corner, side, growth.ridge, progress)
    after = _error(model, patches[sample], targets[sample], corner, side)
    say(f"{name}: error on training patches {before:.4f} of the box as grown, {after:.4f} fitted again")
    return write_shape_model(model, recipe.leaf_bits)


def _gathered(shards: Sequence[Path], key: str) -> NDArray[Any]:
    """One array of all shards, allocated once."""
    parts = [np.load(path)[key] for path in shards[:1]]
    lengths = [_length(path, key) for path in shards]
    out = np.empty((sum(lengths), *parts[0].shape[1:]), parts[0].dtype)
    at = 0
    for path, length in zip(shards, lengths, strict=True):
        with np.load(path) as shard:
            out[at : at + length] = shard[key]
        at += length
    return out


def _length(path: Path, key: str) -> int:
    with np.load(path) as shard:
        return len(shard["turn"])


def _error(
    model: ShapeModel, patches: NDArray[np.uint8], targets: NDArray[np.float32], corner: float, side: float
) -> float:
    difference = (predict_shapes(model, patches, corner, side) - targets).reshape(len(patches), -1, 2)
    return float(np.hypot(difference[..., 0], difference[..., 1]).mean())


def train_landmarks(
    pictures: Sequence[Path],
    out: Path,
    tools: Tools,
    *,
    recipe: Recipe | None = None,
    workers: int = 2,
    about: dict[str, Any] | None = None,
    progress: Callable[..., Any] = iter,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains on `pictures`, each of one face, and writes landmarks_47_coarse.dat, landmarks_47_fine.dat, their manifest
    landmarks_47.json (its path is returned) and report.txt into `out`."""
    recipe = recipe or Recipe()
    out.mkdir(parents=True, exist_ok=True)
    _check_same_run(out / "run.json", {"pictures": [p.name for p in pictures], "recipe": asdict(recipe)})
    report: list[str] = []

    def tell(line: str) -> None:
        report.append(line)
        say(line)

    shards = make_scenes(pictures, out, tools, recipe.seed, workers, progress)
    for line in _scene_report(shards, len(pictures)):
        tell(line)
    files = {}
    for name in ("coarse", "fine"):
        content = train_predictor(name, shards, recipe, out, workers, progress, tell)
        path = out / f"landmarks_47_{name}.dat"
        path.write_bytes(content)
        files[name] = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        tell(f"{name}: {len(content) / 1e6:.2f} MB")
    manifest = out / "landmarks_47.json"
    entry = {"files": files, "about": {**(about or {}), "pictures": len(pictures), "recipe": asdict(recipe)}}
    manifest.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    (out / "report.txt").write_text("\n".join(report) + "\n", encoding="utf-8")
    return manifest


def _check_same_run(path: Path, run: dict[str, Any]) -> None:
    """A folder belongs to one set of pictures and one recipe; else old scenes would slip into a new training."""
    text = json.dumps(run)
    with suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") != text:
            raise LandmarkTrainingError(
                f"{path.parent} holds a training with other pictures or options: give another --out"
            )
    path.write_text(text, encoding="utf-8")


def _scene_report(shards: Sequence[Path], pictures: int) -> list[str]:
    spread, turn, box = (np.concatenate([np.load(p)[k] for p in shards]) for k in ("spread", "turn", "box"))
    found = np.isfinite(box[:, 0])
    lines = [
        f"{pictures} pictures, {np.isnan(spread).sum()} unreadable, "
        f"{(spread > MAX_SPREAD).sum()} left out because the teacher is unsure; {len(turn)} scenes",
    ]
    if found.any():
        x, y, side = np.median(box[found], axis=0)
        lines.append(
            f"detector found {found.mean():.1%} of the faces; its box: centre {x:+.3f} {y:+.3f} from the landmarks' mean, "
            f"side {side:.3f} (eye distances, medians)"
        )
    for low in range(0, 45, 5):
        there = (np.abs(turn) >= low) & (np.abs(turn) < low + 5)
        if there.any():
            lines.append(f"  turned {low} to {low + 5} degrees: found {found[there].mean():.1%} of {there.sum()}")
    return lines
