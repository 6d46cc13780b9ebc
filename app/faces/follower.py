"""The follower: a network of ours that finds the 47 landmarks of everybody known, in one batch a frame, and says whether a face
is still there. Trained by `main.py train-follower`; align/weights/follower.md has its figures."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from align.crop import crop_face
from align.follow_crop import CROP_PX, follow_matrix
from align.landmarks import face_box
from app.errors import ModelError
from app.faces.onnx import one_thread_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from align.geometry import Points
    from app.domain import Box

MANIFEST = Path(__file__).parents[2] / "align" / "weights" / "follower.json"
# A face that moved by more than this, in shares of its box (a turn by a radian, or a size by a factor e, count as one), is
# looked at a second time, from where the first look put it.
FAR = 0.08
# Below this presence a second look is not worth while.
HOPELESS = 0.05
# Beyond the picture a crop shows its mirror image: less than this share of the landmarks in the picture, and it is no face.
INSIDE = 0.5


class Place(NamedTuple):
    """Where a face is expected: its box as Viola-Jones would draw it if the head were upright, and its turn in radians."""

    box: Box | tuple[float, float, float, float]
    roll: float = 0.0


class Followed(NamedTuple):
    landmarks: Points  # (47, 2), pixels of the picture
    presence: float  # 0..1, whether there is a face

    @property
    def place(self) -> Place:
        """The box and the turn that the landmarks suggest."""
        return Place(*face_box(self.landmarks))


class Follower:
    """Finds landmarks around places in a grey picture."""

    def __init__(self, manifest: Path = MANIFEST) -> None:
        """Raises ModelError, also where the file is not the one that the manifest names."""
        self._session = one_thread_session(_verified(manifest), f"the follower ({manifest})")

    def __call__(self, gray: NDArray[np.uint8], places: Sequence[Place], rounds: int = 2) -> list[Followed]:
        """One answer for each place of an (h, w) picture. With two rounds, faces that moved far are looked at again."""
        found = self._once(gray, places)
        if rounds > 1:
            again = [i for i, one in enumerate(found) if one.presence > HOPELESS and _moved(places[i], one.place) > FAR]
            for i, one in zip(again, self._once(gray, [found[i].place for i in again]), strict=True):
                found[i] = one
        return found

    def _once(self, gray: NDArray[np.uint8], places: Sequence[Place]) -> list[Followed]:
        if not places:
            return []
        matrices = np.stack([follow_matrix(*place) for place in places])
        crops = np.empty((len(places), CROP_PX, CROP_PX), np.uint8)
        for crop, matrix in zip(crops, matrices, strict=True):
            crop_face(gray, matrix, CROP_PX, crop)
        points, presence = self._session.run(None, {"crops": crops})
        # Back into the picture: the crops' matrices are similarities, as complex numbers z -> turn * z + shift.
        turn = matrices[:, 0, 0] + 1j * matrices[:, 1, 0]
        shift = matrices[:, 0, 2] + 1j * matrices[:, 1, 2]
        at = (points[..., 0] + 1j * points[..., 1] - shift[:, None]) / turn[:, None]
        back = np.stack([at.real, at.imag], axis=-1)
        inside = ((back >= 0) & (back < gray.shape[::-1])).all(axis=-1).mean(axis=1) >= INSIDE
        return [Followed(p, float(s)) for p, s in zip(back, presence * inside, strict=True)]


def _moved(before: Place, after: Place) -> float:
    (x, y, w, _), (u, v, s, _) = before.box, after.box
    shift = math.hypot(x + w / 2 - u - s / 2, y + w / 2 - v - s / 2) / w
    return max(shift, abs(math.log(max(s, 1e-3) / w)), abs(before.roll - after.roll))


def _verified(manifest: Path) -> str:
    """The network's path, once its hash is found to be that of the manifest."""
    try:
        entry = json.loads(manifest.read_text(encoding="utf-8"))
        path, expected = manifest.parent / Path(entry["file"]).name, str(entry["sha256"])
    except OSError as error:
        raise ModelError(f"the follower's manifest {manifest} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{manifest} is not a follower's manifest: {error!r}") from error
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"the follower {path} cannot be read: {error.strerror}") from error
    if digest != expected:
        raise ModelError(
            f"the follower {path} is not the file that {manifest.name} names: its SHA-256 differs. Restore it from the "
            "repository, or write both anew with `main.py train-follower`"
        )
    return str(path)
