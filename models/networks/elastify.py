"""Any PyTorch network made elastic, without editing it: exits on the outputs of modules inside, named or found.

    network = elastify(resnet, example=torch.zeros(1, 3, 224, 224))             # finds the 16 residual blocks
    network = elastify(resnet, ["layer2", "layer3", "layer4"], exits={2: 0.5, 3: 1.0}, head=MyHead)
    network(x)           # every exit, in one pass
    network(x, until=2)  # nothing behind the second block runs

Modules are watched by forward hooks, which are there only while the network runs, and a run that has reached its exit
is ended by an exception that never leaves this module. What the network does between its modules does not matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.networks.elastic import ElasticNetwork, exit_name
from models.networks.graph import runs, watched_run
from models.networks.layout import Layout, layout_of, to_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from models.networks.graph import Run

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _ReachedTheExit(BaseException):
    """Ends a run; no network catches it by accident."""


class TappedBackbone(nn.Module):
    """A network seen as a row of blocks: what ElasticNetwork wants of a backbone.

    Weights keep their names, behind `network.`. Whatever the layout of a block's output is, `outputs` yields (n, channels,
    height, width): channels that come last go second, tokens become (n, channels, tokens, 1). Two threads may not run one
    instance at the same time.
    """

    def __init__(
        self,
        network: nn.Module,
        taps: Sequence[str],
        example: Tensor,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        """`taps`: paths of modules, as in `named_modules`; they are put into the order in which they run.

        `normalisation`: mean and standard deviation per channel, of RGB in [0, 1], that the network's weights expect to be
        taken off; by default it is given RGB in [-1, 1] as it comes. `example` is what it will be given then.
        """
        super().__init__()
        modules = dict(network.named_modules())
        unknown = [tap for tap in taps if tap not in modules]
        if unknown or not taps:
            raise ValueError(f"taps name modules of the network; it has no {unknown}" if unknown else "no taps given")
        ran: list[tuple[str, Tensor, int]] = []

        def note(path: str, output: Any) -> None:
            if path in taps:
                if not isinstance(output, Tensor):
                    raise ValueError(
                        f"{path} gives a {type(output).__name__}: only a module that gives a tensor can be tapped"
                    )
                ran.append((path, output, output._version))

        with torch.no_grad():
            watched_run(network, example, note)
        paths = [path for path, _, _ in ran]
        for tap in taps:
            if paths.count(tap) != 1:
                raise ValueError(f"{tap} runs {paths.count(tap)} times for one input: it cannot be tapped")
        self.network = network
        self.taps = tuple(paths)
        self.layouts = tuple(layout_of(modules[path], tuple(output.shape)) for path, output, _ in ran)
        self.channels = tuple(o.shape[layout.channels] for layout, (_, o, _) in zip(self.layouts, ran, strict=True))
        # Where the next block works in place, an exit would read what that block made of the features.
        self._copied = frozenset(path for path, output, version in ran if output._version != version)
        mean, std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in normalisation or ((0.5,) * 3, (0.5,) * 3))
        self.is_normalised = normalisation is not None
        self.register_buffer("_scale", 0.5 / std, persistent=False)
        self.register_buffer("_shift", (0.5 - mean) / std, persistent=False)

    def outputs(self, x: Tensor, last: int) -> Iterator[tuple[int, Tensor]]:
        """(block number from 1, its output) up to block `last`, behind which nothing runs."""
        found: list[tuple[int, Tensor]] = []

        def watch(k: int, path: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                features = to_maps(output, self.layouts[k - 1])
                found.append((k, features.clone() if path in self._copied else features))
                # An exporter keeps account of the modules that it is in; it drops by itself what no output needs.
                if k == last and not torch.compiler.is_exporting():
                    raise _ReachedTheExit

            return hook

        hooks = [
            module.register_forward_hook(watch(k, path))
            for k, (path, module) in enumerate(zip(self.taps, self.modules_tapped(), strict=True), start=1)
            if k <= last
        ]
        try:
            self.network(x * self._scale + self._shift if self.is_normalised else x)
        except _ReachedTheExit:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return iter(found)

    def modules_tapped(self) -> list[nn.Module]:
        """The tapped modules, in the order in which they run."""
        return [self.network.get_submodule(path) for path in self.taps]

    def keras_layers(self) -> dict[str, str]:
        """As the network's own, where it has Keras' layout."""
        return {layer: f"network.{place}" for layer, place in self.network.keras_layers().items()}


def elastify(
    network: nn.Module,
    taps: Sequence[str] | str = "auto",
    *,
    example: Tensor,
    exits: Mapping[int, float] | None = None,
    head: Callable[[int], nn.Module] | None = None,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
) -> ElasticNetwork:
    """An elastic network around `network`, which is not changed.

    `taps`: paths of the modules whose outputs are block outputs, or "auto" (see `find_blocks`). `example`: an input of the
    kind that the network takes. `exits`: weight in the loss by block number from 1; by default the paper's rule, weight 1
    in the deeper half. `head`: makes an exit's head from the number of channels; it is given (n, channels, h, w), with tokens
    as (n, channels, tokens, 1); by default the paper's (global average pool, dense layers for age, gender and expression).
    `normalisation`: mean and standard deviation of RGB in [0, 1] that the network's own weights expect; the elastic network
    takes RGB in [-1, 1] all the same. The weights are in the result's `exit_weights`, by exit name.
    Raises ValueError where taps or exits make no sense.
    """
    found = find_blocks(network, example) if taps == "auto" else list(taps)
    backbone = TappedBackbone(network, found, example, normalisation)
    weights = papers_exits(len(backbone.taps)) if exits is None else dict(sorted(exits.items()))
    unclear = [
        backbone.taps[k - 1] for k in weights if 1 <= k <= len(found) and backbone.layouts[k - 1] is Layout.UNCLEAR
    ]
    if head is None and unclear:
        raise ValueError(
            f"it cannot be told which dimension of the output of {', '.join(unclear)} holds the channels, and the paper's "
            "head pools over all others: tap another module, or give a head"
        )
    elastic = ElasticNetwork(backbone, list(weights), head=head)
    elastic.exit_weights = {exit_name(k): float(weight) for k, weight in weights.items()}
    return elastic


def papers_exits(blocks: int) -> dict[int, float]:
    """The paper's rule: an exit of weight 1 behind each block of the deeper half, by block number from 1."""
    return dict.fromkeys(range(blocks // 2 + 1, blocks + 1), 1.0)


def find_blocks(network: nn.Module, example: Tensor) -> list[str]:
    """Paths of the blocks that a network is a row of, in the order in which they run.

    The network runs once on `example`, and autograd's graph tells which outputs everything goes through. A block is the
    smallest module around a branch (a shortcut, parallel paths) that closes before the module ends; with it count all
    modules of such a block's class, and a block found one level too deep is lifted to where most are. A network without
    branches is taken as a row of the outermost class that repeats (three times or more), or, where there is none (VGG), of
    convolutions with their activations. Raises ValueError where none of this finds two blocks.
    """
    ran = runs(network, example)
    candidates = {run.path: run for run in ran if run.is_cut and run.path and any(run.module.children())}
    inside = [run.path for run in ran if run.is_between and not run.is_cut]
    branching = [p for p in candidates if any(q.startswith(p + ".") for q in inside)]
    chosen = [p for p in branching if not any(q.startswith(p + ".") for q in branching)]
    if chosen:
        chosen = _lifted(chosen, candidates)
        kinds = {type(candidates[p].module) for p in chosen} - set(_CONTAINERS)
        alike = [p for p, run in candidates.items() if type(run.module) in kinds]
        chosen += [p for p in alike if not any(_nested(p, q) for q in chosen)]
    else:
        chosen = _repeated(candidates) or _activations(ran)
    if len(chosen) < 2:
        some = ", ".join(list(candidates)[:8]) or "none"
        raise ValueError(f"no repeated blocks found: name the taps. Modules that everything goes through: {some}")
    order = [run.path for run in ran]
    return sorted(chosen, key=order.index)


def _nested(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def _lifted(chosen: list[str], candidates: Mapping[str, Run]) -> list[str]:
    """Blocks at the level of most: squeeze-and-excitation is a branch of its own where the block around it has no shortcut."""
    kind = Counter(type(candidates[p].module) for p in chosen).most_common(1)[0][0]
    level = Counter(p.count(".") for p in chosen if type(candidates[p].module) is kind).most_common(1)[0][0]
    lifted = []
    for path in chosen:
        above = ".".join(path.split(".")[: level + 1])
        lifted.append(above if above in candidates else path)
    return list(dict.fromkeys(lifted))


def _repeated(candidates: Mapping[str, Run]) -> list[str]:
    by_class: dict[type, list[str]] = defaultdict(list)
    for path, run in candidates.items():
        if type(run.module) not in _CONTAINERS:
            by_class[type(run.module)].append(path)
    repeated = [paths for paths in by_class.values() if len(paths) >= 3]
    outermost = [
        paths
        for paths in repeated
        if not any(p.startswith(q + ".") for p in paths for other in repeated if other is not paths for q in other)
    ]
    return max(outermost, key=len, default=[])


def _activations(ran: Sequence[Run]) -> list[str]:
    """What has no weights and comes right behind a convolution or its norm, in a network that is one row of layers."""
    layers = [run for run in ran if run.is_cut and not any(run.module.children())]
    return [
        run.path
        for before, run in pairwise(layers)
        if isinstance(before.module, (nn.Conv2d, _BatchNorm)) and not any(True for _ in run.module.parameters())
    ]
