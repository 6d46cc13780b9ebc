"""Networks of other people, named in a configuration as "module:callable": made, tapped, and asked for their normalisation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from models.networks.elastify import TappedBackbone, find_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    #: mean and standard deviation per channel of RGB in [0, 1]
    Normalisation = tuple[Sequence[float], Sequence[float]]

#: Normalisations by name; "none" is RGB in [-1, 1] as it comes.
NORMALISATIONS: dict[str, Normalisation | None] = {
    "none": None,
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def find_callable(place: str) -> Callable[..., Any]:
    """What "module:callable" names. Raises ValueError."""
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{place!r} cannot be imported: {error}") from error
    return found


def tapped(
    make: Callable[..., nn.Module],
    options: Mapping[str, Any],
    taps: Sequence[str] | str,
    size: int,
    normalisation: str | Mapping[str, Sequence[float]] = "auto",
) -> TappedBackbone:
    """Somebody's network as a row of blocks. Its blocks are looked for with an input of `size` pixels. Raises ValueError."""
    network = make(**options)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{make.__name__} gives a {type(network).__name__}, not a network (torch.nn.Module)")
    example = torch.zeros(1, 3, size, size)
    try:
        found = find_blocks(network, example) if taps == "auto" else list(taps)
        return TappedBackbone(network, found, example, _normalisation(normalisation, network, make, options))
    except (RuntimeError, AssertionError, IndexError, TypeError) as error:
        raise ValueError(f"{make.__name__} does not take one RGB picture of {size} px: {first_line(error)}") from error


def _normalisation(
    asked: str | Mapping[str, Sequence[float]], network: nn.Module, make: Callable[..., Any], options: Mapping[str, Any]
) -> Normalisation | None:
    if asked == "auto":
        return own_normalisation(network, make, options)
    if isinstance(asked, str):
        if asked not in NORMALISATIONS:
            raise ValueError(
                f"normalisation {asked!r}: auto, {', '.join(NORMALISATIONS)}, or {{ mean = [...], std = [...] }}"
            )
        return NORMALISATIONS[asked]
    if set(asked) != {"mean", "std"} or {len(v) for v in asked.values()} != {3} or min(asked["std"]) <= 0:
        raise ValueError("normalisation: mean and std, three numbers each, std above 0")
    return tuple(asked["mean"]), tuple(asked["std"])


def own_normalisation(network: nn.Module, make: Callable[..., Any], options: Mapping[str, Any]) -> Normalisation | None:
    """What the library that a network comes from says of its input: timm's `pretrained_cfg`, the transforms of torchvision's
    `weights`. None where neither says anything: RGB in [-1, 1]."""
    said = getattr(network, "pretrained_cfg", None)
    if said is not None:
        read = said.get if isinstance(said, dict) else lambda key: getattr(said, key, None)
        if read("mean") and read("std"):
            return tuple(read("mean")), tuple(read("std"))
    if make.__module__.startswith("torchvision.models") and options.get("weights"):
        from torchvision.models import get_model_weights

        weights = options["weights"]
        if isinstance(weights, str):
            weights = get_model_weights(make)[weights.rpartition(".")[2]]
        transforms = weights.transforms()
        return tuple(transforms.mean), tuple(transforms.std)
    return None


def first_line(error: BaseException) -> str:
    """What an error of somebody's network says, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
