"""What feeds what inside any network, read from autograd's graph of one run: no source is parsed, no module is edited."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True)
class Run:
    """A module that ran: whether all that the network computes of its input goes through its output."""

    path: str
    module: nn.Module
    is_cut: bool
    is_between: bool  # on some way from input to output


def runs(network: nn.Module, example: Tensor) -> list[Run]:
    """Every module that ran exactly once and gave a tensor, in the order in which they ended."""
    noted: list[tuple[str, Any]] = []
    with torch.enable_grad():
        x = example.detach().clone().requires_grad_()
        output = watched_run(network, x, lambda path, out: noted.append((path, getattr(out, "grad_fn", None))))
    roots = [t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
    between, cuts = _ways(roots, get_gradient_edge(x).node)
    modules, times = dict(network.named_modules()), Counter(path for path, _ in noted)
    return [
        Run(p, modules[p], node in cuts, node in between) for p, node in noted if times[p] == 1 and node is not None
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


def watched_run(network: nn.Module, x: Tensor, note: Callable[[str, Any], None]) -> Any:
    """Runs the network in eval mode and calls `note(path, output)` after every module."""
    hooks = [
        module.register_forward_hook(lambda _, __, output, path=path: note(path, output))
        for path, module in network.named_modules()
    ]
    try:
        with evaluating(network):
            return network(x)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts the network into eval mode; afterwards each module goes back to its own mode."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def convolutions_with_norms(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """Paths of each convolution and of the batch norm that alone reads its output: the pairs that can be folded.

    `example`: an input of the network, which runs once on it. How the modules are called does not matter, nor where they lie.
    """
    made: dict[Any, str] = {}
    read: list[tuple[Any, str]] = []
    times: Counter[str] = Counter()

    def before(path: str, inputs: tuple[Any, ...]) -> None:
        read.append((getattr(inputs[0], "grad_fn", None), path))

    def after(path: str, output: Any) -> None:
        times[path] += 1
        if output.grad_fn is not None:
            made[output.grad_fn] = path

    hooks = []
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, __, output, path=path: after(path, output)))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, path=path: before(path, inputs)))
    try:
        with torch.enable_grad(), evaluating(network):
            output = network(example.detach().clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    roots = [t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor) and t.grad_fn is not None]
    readers = Counter(below for node in _below(roots) for below, _ in node.next_functions)
    norms = Counter(path for _, path in read)
    return [
        (made[node], norm)
        for node, norm in read
        if node in made and readers[node] == 1 and times[made[node]] == norms[norm] == 1
    ]


def _below(roots: Sequence[Any]) -> set[Any]:
    """All nodes of autograd's graph."""
    seen: set[Any] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [below for below, _ in node.next_functions]
    return seen
