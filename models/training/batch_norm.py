"""Batch-norm statistics of one input size, measured anew with the final weights.

One set of kernels serves every size, but one set of statistics does not: running averages over steps of all sizes fit
none of them, the smallest least.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from models.data.batches import Augmentation, TrainingBatches, to_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.data.views import Views
    from models.networks.elastic import ElasticNetwork

# Faces as they are: the statistics are for use, not for training.
PLAIN = Augmentation(zoom=0.0, shift=0.0, rotate_deg=0.0, light=0.0, grey=0.0, coarse=0.0, erase=0.0)
BATCHES = 40


def for_size(
    network: ElasticNetwork,
    parts: Sequence[tuple[Views, NDArray[np.int64], int]],
    size: int,
    device: torch.device,
    batches: int | None = None,
    spoil: float = 0.0,
) -> ElasticNetwork:
    """A copy, in eval mode, whose statistics are the mean over this many batches of training faces (BATCHES) at `size`.

    `spoil`: the share of them that is spoilt as cameras do. A network that was trained with as many does better so, on clean
    faces too (docs/reference/network.md).
    """
    out = copy.deepcopy(network)
    norms = [m for m in out.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return out.eval()
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    out.eval()
    for norm in norms:
        norm.train()  # these alone: what drops features in training would change the statistics
    faces = TrainingBatches(parts, {size: 1.0}, 0, replace(PLAIN, spoil=spoil))
    with torch.no_grad():
        for i in range(batches or BATCHES):
            out(to_input(torch.from_numpy(faces[i]["crops"]).to(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return out.eval()
