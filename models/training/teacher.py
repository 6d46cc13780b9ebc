"""A network that ships, as the teacher of a smaller one: its answers for every training face, asked once.

Knowledge distillation (Hinton et al., 2015) with the teacher's answers for the views as they are: to ask it anew for every
changed picture would cost more than the small network's own training. It is asked for view and mirror image; the mean counts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import onnx
from numpy.typing import NDArray

from models.data.batches import plain_crops
from models.manifest import Manifest
from models.networks.elastic import HEADS
from models.onnx_file import at_size
from models.session import cpu_session
from models.training.config import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.data.views import Views

    #: per head, (n, classes) float16 probabilities, 0 for faces that are not trained on
    Answers = dict[str, NDArray[np.float16]]

_BATCH = 32


def teacher_answers(
    teacher: Path,
    parts: Sequence[tuple[Views, NDArray[np.int64], int]],
    kept: Path,
    progress: Callable[..., Any] | None = None,
) -> list[Answers]:
    """What the deepest exit of a manifest's network says at its largest size, for the faces to train on of each part.

    Kept in the file `kept`, from which a resumed training reads them. Raises ManifestError, and TrainingError where that
    file holds the answers of another teacher or of other faces.
    """
    manifest = Manifest.read(teacher)
    faces = hashlib.sha256()
    for views, usable, _ in parts:
        faces.update(usable.tobytes() + views.pixels[usable[::97]].tobytes())
    key = manifest.sha256 + faces.hexdigest()
    if kept.exists():
        return _read(kept, key, len(parts), manifest.tasks)
    size, deepest = max(manifest.input_sizes), manifest.exits[-1]
    file = at_size(onnx.load_model_from_string(manifest.verify()), size)
    session = cpu_session(file.SerializeToString())
    heads = {task: HEADS[task] for task in manifest.tasks}
    names = [deepest.output(head) for head in heads]
    answers: list[Answers] = []
    bar = (
        progress(total=sum(len(np.unique(usable)) for _, usable, _ in parts), unit="face", desc="teacher")
        if progress
        else None
    )
    for views, usable, _ in parts:
        usable = np.unique(usable)  # rare faces are in it several times
        mine = {head: np.zeros((len(views), classes), np.float16) for head, classes in heads.items()}
        for chosen in (usable[i : i + _BATCH] for i in range(0, len(usable), _BATCH)):
            crops = plain_crops(views.pixels[chosen], size)
            pictures = np.concatenate([crops, crops[:, :, ::-1]])
            for head, p in zip(heads, session.run(names, {manifest.input_name: pictures}), strict=True):
                mine[head][chosen] = (p[: len(chosen)] + p[len(chosen) :]) / 2
            if bar is not None:
                bar.update(len(chosen))
        answers.append(mine)
    if bar is not None:
        bar.close()
    draft = kept.with_suffix(".tmp")
    with draft.open("wb") as out:
        np.savez(out, key=key, **{f"{k}/{head}": p for k, one in enumerate(answers) for head, p in one.items()})
    draft.replace(kept)
    return answers


def _read(kept: Path, key: str, parts: int, heads: Sequence[str]) -> list[Answers]:
    try:
        with np.load(kept) as file:
            theirs = str(file["key"])
            answers = [{head: file[f"{k}/{head}"] for head in heads} for k in range(parts if theirs == key else 0)]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise TrainingError(f"{kept} cannot be read, remove it: {error}") from error
    if theirs != key:
        raise TrainingError(f"{kept} holds answers of another teacher or for other faces: use a new --out folder")
    return answers
