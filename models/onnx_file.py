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


def mirrored(content: bytes) -> bytes:
    """A cut network (one input, faces (n, h, w, 3)) that reads every face and its mirror image in one batch, and gives the mean
    of what it says of both."""
    from onnx import helper, load_model_from_string, numpy_helper

    model = load_model_from_string(content)
    graph = model.graph
    (faces,) = (i.name for i in graph.input)
    both, results = f"{faces}+mirror", [o.name for o in graph.output]
    for node in graph.node:
        node.input[:] = [both if name == faces else name for name in node.input]
        node.output[:] = [f"{name}+mirror" if name in results else name for name in node.output]
        node.input[:] = [f"{name}+mirror" if name in results else name for name in node.input]
    last = np.iinfo(np.int64).min
    numbers = {"first": [-1], "last": [last], "width": [2], "step": [-1]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), f"mirror/{k}") for k, v in numbers.items())
    graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "mirror/half"))
    turn = [
        helper.make_node("Slice", [faces, *(f"mirror/{k}" for k in numbers)], ["mirror/faces"]),
        helper.make_node("Concat", [faces, "mirror/faces"], [both], axis=0),
    ]
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    halves = {"num_outputs": 2} if opset >= 18 else {}
    mean = []
    for name in results:
        parts = [f"mirror/{name}/{i}" for i in range(2)]
        mean += [
            helper.make_node("Split", [f"{name}+mirror"], parts, axis=0, **halves),
            helper.make_node("Add", parts, [f"mirror/{name}/sum"]),  # Mean has no CUDA kernel
            helper.make_node("Mul", [f"mirror/{name}/sum", "mirror/half"], [name]),
        ]
    nodes = [*turn, *graph.node, *mean]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # of half the batch
    return model.SerializeToString()
