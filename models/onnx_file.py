"""The network file: one ONNX graph with every exit, whose convolutions fit every input size.

Statistics of features differ with the input size (a face of 48 px leaves a 2x2 map at the end, half of it border), so
batch norm has its own per size. Folded into the convolutions that makes another factor per channel and another bias. The
file runs as it is at its default size; for any other size s, initializers `NAME@s` hold what the kernel NAME is to be
multiplied with per output channel, or what the bias NAME is to be replaced by. No torch here: the application reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto


def sizes_apart(model: ModelProto) -> set[int]:
    """The input sizes that have parameters of their own, the default size not among them."""
    suffixes = {i.name.rpartition("@")[2] for i in model.graph.initializer if "@" in i.name}
    return {int(s) for s in suffixes if s.isdigit()}


def add_size(model: ModelProto, size: int, changes: Mapping[str, NDArray[np.float32]]) -> None:
    """Stores what `at_size` will apply: a factor per output channel for kernels, a new value for biases."""
    from onnx import numpy_helper

    for name, values in changes.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), f"{name}@{size}"))


def at_size(model: ModelProto, size: int) -> ModelProto:
    """The network as it is to be run at an input size: a copy without the other sizes' parameters.

    Raises ValueError where a stored parameter fits nothing in the graph.
    """
    from onnx import ModelProto, numpy_helper

    out = ModelProto()
    out.CopyFrom(model)
    known = {i.name: i for i in out.graph.initializer}
    for name, stored in known.items():
        base, _, suffix = name.rpartition("@")
        if not base or suffix != str(size):
            continue
        if base not in known:
            raise ValueError(f"parameter {name} changes {base}, which is not in the network")
        values, change = numpy_helper.to_array(known[base]), numpy_helper.to_array(stored)
        if len(change) != len(values):
            raise ValueError(f"parameter {name} has {len(change)} channels, {base} has {len(values)}")
        changed = change if values.ndim == 1 else values * change.reshape(-1, *[1] * (values.ndim - 1))
        known[base].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed, np.float32), base))
    kept = [i for i in out.graph.initializer if "@" not in i.name]
    del out.graph.initializer[:]
    out.graph.initializer.extend(kept)
    return out


def cut(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The part of the graph that leads from the inputs to the outputs, serialised."""
    from onnx.utils import Extractor

    return Extractor(model).extract_model(list(inputs), list(outputs)).SerializeToString()
