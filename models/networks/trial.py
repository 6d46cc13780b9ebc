"""What an elastic network must do before hours are spent on its training."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from models.networks.elastify import TappedBackbone
from models.networks.flops import multiply_adds
from models.networks.foreign import first_line
from models.networks.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from models.networks.elastic import ElasticNetwork


def refuse_what_cannot_be_trained(network: ElasticNetwork, sizes: Collection[int], heads: Mapping[str, int]) -> None:
    """Raises ValueError, before hours are spent, where an elastic network does not take a size, an exit does not give the
    logits of `heads` (n, classes), has unclear channels, or costs no more than the one before it."""
    backbone = network.backbone
    if isinstance(backbone, TappedBackbone):
        unclear = [backbone.taps[k - 1] for k in network.exits if backbone.layouts[k - 1] is Layout.UNCLEAR]
        if unclear:
            raise ValueError(f"it cannot be told where {', '.join(unclear)} has its channels: tap another module")
    for size in sizes:
        try:
            with torch.no_grad():
                outputs = network.eval()(torch.zeros(2, 3, size, size))
        except (RuntimeError, AssertionError, IndexError) as error:
            raise ValueError(
                f"an input of {size} px does not go through it: {first_line(error)}. Choose other input_sizes"
            ) from error
        for name, output in outputs.items():
            given = {head: tuple(getattr(getattr(output, head, None), "shape", ())) for head in heads}
            wanted = {head: (2, classes) for head, classes in heads.items()}
            if given != wanted:
                raise ValueError(
                    f"the head of {name} gives {given} for two faces, wanted is an ExitOutput with {wanted}"
                )
    network.train()
    costs = list(multiply_adds(network, max(sizes)).items())
    for (first, cost), (second, other) in pairwise(costs):
        if other <= cost:
            raise ValueError(
                f"{second} costs no more than {first} ({other:,} and {cost:,} multiply-adds): leave one of them out"
            )
