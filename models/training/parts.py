"""What a training learns from, and what it is judged on: parts of the sets that `prepare` wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.sets.base import EXPRESSIONS, UNKNOWN, DataError
from models.data.views import Views, load_views
from models.networks.elastic import HEADS
from models.training.config import Config, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    #: views, the indices of those to train on, and how many of each batch come from there (see TrainingBatches)
    Part = tuple[Views, NDArray[np.int64], int]

# So many of FER+'s votes make a face one of a rare expression.
RARE_SHARE = 0.4


def load_parts(config: Config, faces: Path) -> tuple[list[Part], dict[str, Views]]:
    """Training parts of each data set, and the held-out views that the network is judged on.

    Of [protocol] the parts are the last stage's. What the network tells is judged on the last stage whose held-out faces
    have labels of it; a set's other labels are unknown then. Raises DataError.
    """
    if config.protocol:
        stages = config.protocol["stages"]
        parts, _ = stage_parts(stages[-1]["sets"], int(config.protocol["batch"]), faces)
        return parts, _judged_by_stages(config.tasks, stages, faces)
    parts, held_out = [], {}
    for name, count in config.optimiser["batch"].items():
        views, training, held_out[name] = _loaded(faces, name)
        parts.append((views, drawn_more_often(training, views, config.optimiser.get("rare", {})), int(count)))
    if not parts:
        raise DataError("[optimiser] batch names no data set")
    return parts, held_out


def stage_parts(sets: Sequence[str], batch: int, faces: Path) -> tuple[list[Part], dict[str, Views]]:
    """Training parts of a stage with their share of each batch, and its held-out views."""
    loaded = {name: _loaded(faces, name) for name in sets}
    counts = batch_counts({name: len(training) for name, (_, training, _) in loaded.items()}, batch)
    parts = [(views, training, counts[name]) for name, (views, training, _) in loaded.items()]
    return parts, {name: held_out for name, (_, _, held_out) in loaded.items()}


def batch_counts(sizes: Mapping[str, int], batch: int) -> dict[str, int]:
    """How many of each batch come from each data set: in proportion to their sizes, at least one from each."""
    if len(sizes) > batch:
        raise TrainingError(f"{len(sizes)} data sets do not fit into batches of {batch}")
    total, counts = sum(sizes.values()), dict.fromkeys(sizes, 1)
    for _ in range(batch - len(sizes)):
        short = max(sizes, key=lambda name: sizes[name] / total * batch - counts[name])
        counts[short] += 1
    return counts


def drawn_more_often(usable: NDArray[np.int64], views: Views, times: Mapping[str, int]) -> NDArray[np.int64]:
    """`usable` with faces of rare expressions repeated: by the label, or where at least RARE_SHARE of FER+ saw them."""
    out = [usable]
    for name, count in times.items():
        k = EXPRESSIONS.index(name)
        seen = views.shares[usable, k] >= RARE_SHARE if views.voted else views.expression[usable] == k
        out += [usable[seen]] * (int(count) - 1)
    return np.concatenate(out)


def _loaded(faces: Path, name: str) -> tuple[Views, NDArray[np.int64], Views]:
    """A set's views, which of them to train on, and those that are held out."""
    views, mask = load_views(faces, name)
    kept = views.take(np.flatnonzero(mask))
    if views.voted:  # then the set's own labels of expressions count no more
        views.expression[:] = UNKNOWN
        kept.expression[:] = kept.majority
    return views, np.flatnonzero(~mask), kept


def _judged_by_stages(tasks: Sequence[str], stages: Sequence[Mapping[str, Any]], faces: Path) -> dict[str, Views]:
    kept: dict[str, Views] = {}
    judged: dict[str, set[str]] = {}
    for task in tasks:
        for stage in reversed(stages):
            for name in stage["sets"]:
                if name not in kept:
                    kept[name] = _loaded(faces, name)[2]
            knowing = [name for name in stage["sets"] if (getattr(kept[name], task) >= 0).any()]
            for name in knowing:
                judged.setdefault(name, set()).add(task)
            if knowing:
                break
    for name, told in judged.items():
        for task in HEADS.keys() - told:
            getattr(kept[name], task)[:] = UNKNOWN
    return {name: kept[name] for name in judged}
