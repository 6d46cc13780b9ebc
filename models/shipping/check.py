"""Whether a network file does what the trained network does: on faces and other natural pictures, with float64 as the referee.

Noise would not do: its features are unlike those of pictures, so files may agree on noise and differ on faces. float32 itself
errs, more in a deep network, so torch's own error in float32 says how much is to be expected.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from PIL import Image

from models.data.batches import plain_crops
from models.onnx_file import at_size
from models.session import cpu_session
from models.shipping.network_file import Deployed, write_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.data.views import Views
    from models.networks.elastic import ElasticNetwork

# What a probability may be off by, as a share of itself. Measured on the two networks that ship: below 2e-5.
RELATIVE = 1e-3
# Or this many times torch's own error in float32.
TIMES = 4.0
# Where float32 itself is off by more, no file can hold the network.
MOST = 5e-2
# Smaller probabilities decide nothing: they may be off by that share of this one.
LEAST_PROBABILITY = 1e-3
FACES = 6


class ExportError(RuntimeError):
    """The exported network does not do what the trained one does."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Largest differences to float64, as shares of the probabilities: the file's, and torch's own in float32."""

    pictures: int
    of_the_file: float
    of_torch_float32: float

    @property
    def allowed(self) -> float:
        return max(RELATIVE, TIMES * self.of_torch_float32)

    def told(self) -> dict[str, float]:
        """The differences as the manifest records them."""
        return asdict(self) | {"allowed": self.allowed}

    def refuse(self) -> None:
        """Raises ExportError where the differences are too large, or are no numbers."""
        if not self.of_torch_float32 <= MOST:
            raise ExportError(
                f"in float32 torch's own outputs differ from those in float64 by up to {self.of_torch_float32:.2g} of "
                "themselves: the network overflows or nearly does. Train it with a lower learning rate; nothing was written"
            )
        if not self.of_the_file <= self.allowed:
            raise ExportError(
                f"ONNX outputs differ from float64's by up to {self.of_the_file:.2g} of themselves, allowed is "
                f"{self.allowed:.2g}; nothing was written"
            )


def natural_pictures(size: int) -> NDArray[np.uint8]:
    """(12, size, size, 3) RGB: parts of scikit-image's public-domain astronaut, near and far, three of them her face."""
    from skimage.data import astronaut

    whole = astronaut()
    corners = [(0, 160, 200), (20, 170, 160), (40, 180, 120), (0, 0, 512), (0, 0, 300), (200, 0, 300), (212, 212, 300)]
    corners += [(100, 300, 200), (300, 100, 96), (60, 0, 96), (256, 256, 256), (0, 400, 112)]
    parts = [whole[y : y + side, x : x + side] for y, x, side in corners]
    return np.stack([np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BOX)) for part in parts])


def checked_onnx(networks: Mapping[int, ElasticNetwork], held_out: Mapping[str, Views]) -> tuple[bytes, Check]:
    """The file's content and how far off it is; `held_out`: faces to try beside the astronaut's. Raises ExportError."""
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        write_onnx(networks, draft)
        pictures = {size: _pictures(size, held_out) for size in networks}
        check = compare(networks, draft, pictures)
        check.refuse()
        return draft.read_bytes(), check


def compare(networks: Mapping[int, ElasticNetwork], path: Path, pictures: Mapping[int, NDArray[np.uint8]]) -> Check:
    """All outputs at every size: one picture alone, which may take another kernel, and all at once."""
    file = onnx.load(path)
    theirs, mine = 0.0, 0.0
    for size, network in networks.items():
        session = cpu_session(at_size(file, size).SerializeToString())
        single, double = Deployed(network).eval(), Deployed(copy.deepcopy(network).double()).eval()
        for chosen in (pictures[size][:1], pictures[size]):
            with torch.inference_mode():
                faces = torch.from_numpy(chosen)
                referee = [p.numpy() for p in double(faces)]
                own = [p.numpy() for p in single(faces)]
            # Python's own max would lose a nan.
            theirs = float(np.maximum(theirs, _difference(session.run(None, {"faces": chosen}), referee)))
            mine = float(np.maximum(mine, _difference(own, referee)))
    return Check(pictures=len(pictures[max(networks)]), of_the_file=theirs, of_torch_float32=mine)


def _difference(outputs: list[NDArray], referee: list[NDArray]) -> float:
    """nan where any output is."""
    shares = [np.abs(a - b) / np.maximum(b, LEAST_PROBABILITY) for a, b in zip(outputs, referee, strict=True)]
    return float(np.max([share.max() for share in shares]))


def _pictures(size: int, held_out: Mapping[str, Views]) -> NDArray[np.uint8]:
    faces = [
        plain_crops(views.pixels[np.linspace(0, len(views) - 1, min(FACES, len(views))).astype(int)], size)
        for views in held_out.values()
        if len(views)
    ]
    return np.concatenate([natural_pictures(size), *faces])
