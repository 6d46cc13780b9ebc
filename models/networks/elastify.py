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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_leaves

from models.networks.elastic import ElasticNetwork, exit_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class _ReachedTheExit(BaseException):
    """Ends a run; no network catches it by accident."""


class TappedBackbone(nn.Module):
    """A network seen as a row of blocks: what ElasticNetwork wants of a backbone.

    Weights keep their names, behind `network.`. Two threads may not run one instance at the same time.
    """

    def __init__(self, network: nn.Module, taps: Sequence[str], example: Tensor) -> None:
        """`taps`: paths of modules, as in `named_modules`; they are put into the order in which they run."""
        super().__init__()
        modules = dict(network.named_modules())
        unknown = [tap for tap in taps if tap not in modules]
        if unknown or not taps:
            raise ValueError(f"taps name modules of the network; it has no {unknown}" if unknown else "no taps given")
        runs: list[tuple[str, Tensor, int]] = []

        def note(path: str, output: Any) -> None:
            if path in taps:
                if not isinstance(output, Tensor):
                    raise ValueError(
                        f"{path} gives a {type(output).__name__}: only a module that gives a tensor can be tapped"
                    )
                runs.append((path, output, output._version))

        with torch.no_grad():
            _watched_run(network, example, note)
        paths = [path for path, _, _ in runs]
        for tap in taps:
            if paths.count(tap) != 1:
                raise ValueError(f"{tap} runs {paths.count(tap)} times for one input: it cannot be tapped")
        self.network = network
        self.taps = tuple(paths)
        #: dimensions of each block's output, and its channels: second of (n, c, h, w), last of (n, tokens, c)
        self.dimensions = tuple(output.ndim for _, output, _ in runs)
        self.channels = tuple(o.shape[1] if o.ndim == 4 else o.shape[-1] for _, o, _ in runs)
        # Where the next block works in place, an exit would read what that block made of the features.
        self._copied = frozenset(path for path, output, version in runs if output._version != version)

    def outputs(self, x: Tensor, last: int) -> Iterator[tuple[int, Tensor]]:
        """(block number from 1, its output) up to block `last`, behind which nothing runs."""
        found: list[tuple[int, Tensor]] = []

        def watch(k: int, path: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                found.append((k, output.clone() if path in self._copied else output))
                # An exporter keeps account of the modules that it is in; it drops by itself what no output needs.
                if k == last and not torch.compiler.is_exporting():
                    raise _ReachedTheExit

            return hook

        hooks = [
            self.network.get_submodule(path).register_forward_hook(watch(k, path))
            for k, path in enumerate(self.taps[:last], start=1)
        ]
        try:
            self.network(x)
        except _ReachedTheExit:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return iter(found)

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
) -> ElasticNetwork:
    """An elastic network around `network`, which is not changed.

    `taps`: paths of the modules whose outputs are block outputs, or "auto" (see `find_blocks`). `example`: an input of the
    kind that the network takes. `exits`: weight in the loss by block number from 1; by default the paper's rule, weight 1
    in the deeper half. `head`: makes an exit's head from the number of channels; by default the paper's (global average
    pool, dense layers for age, gender and expression). The weights are in the result's `exit_weights`, by exit name.
    Raises ValueError where taps or exits make no sense.
    """
    backbone = TappedBackbone(network, find_blocks(network, example) if taps == "auto" else list(taps), example)
    count = len(backbone.taps)
    weights = dict.fromkeys(range(count // 2 + 1, count + 1), 1.0) if exits is None else dict(sorted(exits.items()))
    if head is None and any(backbone.dimensions[k - 1] != 4 for k in weights if 1 <= k <= count):
        raise ValueError(
            "the paper's head pools over height and width: this network's blocks have none, so give a head"
        )
    elastic = ElasticNetwork(backbone, list(weights))
    if head is not None:
        for k in weights:
            elastic.heads[exit_name(k)] = head(backbone.channels[k - 1])
    elastic.exit_weights = {exit_name(k): float(weight) for k, weight in weights.items()}
    return elastic


@dataclass(frozen=True)
class _Run:
    """A module that ran: whether all that the network computes of its input goes through its output."""

    path: str
    module: nn.Module
    is_cut: bool
    is_between: bool  # on some way from input to output


def find_blocks(network: nn.Module, example: Tensor) -> list[str]:
    """Paths of the blocks that a network is a row of, in the order in which they run.

    The network runs once on `example`, and autograd's graph tells which outputs everything goes through. A block is the
    smallest module around a branch (a shortcut, parallel paths) that closes before the module ends; with it count all
    modules of such a block's class, and a block found one level too deep is lifted to where most are. A network without
    branches is taken as a row of the outermost class that repeats (three times or more). Raises ValueError where neither
    finds two blocks.
    """
    runs = _runs(network, example)
    candidates = {run.path: run for run in runs if run.is_cut and run.path and any(run.module.children())}
    inside = [run.path for run in runs if run.is_between and not run.is_cut]
    branching = [p for p in candidates if any(q.startswith(p + ".") for q in inside)]
    chosen = [p for p in branching if not any(q.startswith(p + ".") for q in branching)]
    if chosen:
        chosen = _lifted(chosen, candidates)
        kinds = {type(candidates[p].module) for p in chosen} - set(_CONTAINERS)
        alike = [p for p, run in candidates.items() if type(run.module) in kinds]
        chosen += [p for p in alike if not any(_nested(p, q) for q in chosen)]
    else:
        chosen = _repeated(candidates)
    if len(chosen) < 2:
        some = ", ".join(list(candidates)[:8]) or "none"
        raise ValueError(f"no repeated blocks found: name the taps. Modules that everything goes through: {some}")
    order = [run.path for run in runs]
    return sorted(chosen, key=order.index)


def _nested(one: str, other: str) -> bool:
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")


def _lifted(chosen: list[str], candidates: Mapping[str, _Run]) -> list[str]:
    """Blocks at the level of most: squeeze-and-excitation is a branch of its own where the block around it has no shortcut."""
    kind = Counter(type(candidates[p].module) for p in chosen).most_common(1)[0][0]
    level = Counter(p.count(".") for p in chosen if type(candidates[p].module) is kind).most_common(1)[0][0]
    lifted = []
    for path in chosen:
        above = ".".join(path.split(".")[: level + 1])
        lifted.append(above if above in candidates else path)
    return list(dict.fromkeys(lifted))


def _repeated(candidates: Mapping[str, _Run]) -> list[str]:
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


def _runs(network: nn.Module, example: Tensor) -> list[_Run]:
    """Every module that ran exactly once and gave a tensor, in the order in which they ended."""
    noted: list[tuple[str, Any]] = []
    with torch.enable_grad():
        x = example.detach().clone().requires_grad_()
        output = _watched_run(network, x, lambda path, out: noted.append((path, getattr(out, "grad_fn", None))))
    roots = [t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
    between, cuts = _ways(roots, get_gradient_edge(x).node)
    modules, times = dict(network.named_modules()), Counter(path for path, _ in noted)
    return [
        _Run(p, modules[p], node in cuts, node in between) for p, node in noted if times[p] == 1 and node is not None
    ]


def _ways(roots: Sequence[Any], start: Any) -> tuple[set[Any], set[Any]]:
    """Nodes of autograd's graph on a way from input to output, and those that every such way goes through.

    A node is on every way if as many ways go through it as there are in all.
    """
    order: list[Any] = []
    seen: set[Any] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, is_done = stack.pop()
        if is_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(below, False) for below, _ in node.next_functions if below is not None]
    to_input: Counter[Any] = Counter({start: 1})
    for node in order:  # inputs first
        if node is not start:
            to_input[node] = sum(to_input[below] for below, _ in node.next_functions if below is not None)
    from_output: Counter[Any] = Counter(roots)
    for node in reversed(order):
        for below, _ in node.next_functions:
            if below is not None:
                from_output[below] += from_output[node]
    ways = from_output[start]
    between = {node for node in order if to_input[node] and from_output[node]}
    return between, {node for node in between if to_input[node] * from_output[node] == ways}


def _watched_run(network: nn.Module, x: Tensor, note: Callable[[str, Any], None]) -> Any:
    """Runs the network in eval mode and calls `note(path, output)` after every module."""
    hooks = [
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
        for path, module in network.named_modules()
    ]
    try:
        with _evaluating(network):
            return network(x)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
