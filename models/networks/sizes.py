"""One elastic network for several input sizes, in which each size has its own of what is small.

A face of 48 px looks different to a network than one of 96 px. The kernels over channels, which are most of the numbers,
serve all sizes; norms, depthwise kernels and the heads' dense layers are each size's own (Wang et al., 2020, did so with norms:
Resolution Switchable Networks).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

from models.networks.elastic import ElasticNetwork, ExitOutput

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_shared(module: nn.Module) -> bool:
    """Whether all sizes use a module's kernel: a convolution over channels."""
    return isinstance(module, nn.Conv2d) and module.groups == 1


class SizedNetwork(nn.Module):
    """An ElasticNetwork per input size, as they are alike in the kernels of their convolutions over channels.

    `forward` takes (n, 3, s, s) RGB in [-1, 1] and gives what the network of size s gives.
    """

    def __init__(self, network: ElasticNetwork, sizes: Sequence[int]) -> None:
        """`network` becomes the largest size's; the others start as copies of it."""
        super().__init__()
        self.sizes = sorted(sizes)
        largest = self.sizes[-1]
        self.at = nn.ModuleDict({str(s): network if s == largest else copy.deepcopy(network) for s in self.sizes})
        for size in self.sizes[:-1]:
            for path, module in network.named_modules():
                if is_shared(module):
                    self.at[str(size)].get_submodule(path).weight = module.weight

    def forward(self, x: Tensor, until: int | None = None) -> dict[str, ExitOutput]:
        """Outputs by exit name, shallowest first, of the exits up to block `until`."""
        return self.at[str(x.shape[-1])](x, until)

    def own(self) -> list[nn.Parameter]:
        """The parameters that are one size's own, of all sizes."""
        shared = {id(m.weight) for m in self.modules() if is_shared(m)}
        return [p for p in self.parameters() if id(p) not in shared]


def network_at(network: ElasticNetwork | SizedNetwork, size: int) -> ElasticNetwork:
    """The network that reads faces of `size` px."""
    return network.at[str(size)] if isinstance(network, SizedNetwork) else network
