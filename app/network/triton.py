"""What a server has to load: a Triton model repository, for its ONNX Runtime backend.

    DIR/NAME-HASH-EXIT-SIZE/config.pbtxt
    DIR/NAME-HASH-EXIT-SIZE/1/model.onnx

A model for each operating point. One model with all exits, asked for the outputs of one, would compute all of them: ONNX
Runtime runs the whole graph whatever is asked for (docs/decisions/0033-a-server-is-one-more-engine.md).

Batches are made of what waits, newcomers first. A request that has waited for as long as it said it may is refused, not
answered late: its kiosk has read the faces itself by then. The queue is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import OutputError, UsageError
from app.network.engine import widths_of
from app.network.graphs import Graphs, heads_of
from app.network.remote import NEWCOMERS, OTHERS, model_name

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from models.manifest import Manifest
    from scheduler.profile import OperatingPoint

MOST_FACES, QUEUE = 32, 256
# Requests may shorten it, not lengthen it.
LONGEST_US = 10_000_000

CONFIG = """\
# Written by `main.py export --triton`: {point} of {network}, sha256 {sha256}
name: "{name}"
backend: "onnxruntime"
max_batch_size: {most}
input [ {{ name: "{input}" data_type: TYPE_UINT8 dims: [ {size}, {size}, 3 ] }} ]
output [
{outputs}
]
dynamic_batching {{
  priority_levels: {levels}
  default_priority_level: {others}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {longest}
    allow_timeout_override: true
    max_queue_size: {queue}
  }}
}}
# On a GPU every size of batch is planned when it first comes; a search for the best plan would take half a second each time.
parameters {{ key: "cudnn_conv_algo_search" value: {{ string_value: "1" }} }}
"""


def write_repository(manifest: Manifest, points: Collection[OperatingPoint], folder: Path) -> list[str]:
    """The models' names. Raises UsageError where there is something already, and OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"--triton: {folder} is not empty: name a new folder")
        graphs = Graphs(manifest)
        return [_write(manifest, point, graphs(point).content, folder) for point in points]
    except OSError as error:
        raise OutputError(f"model repository {folder} cannot be written: {error.strerror or error}") from error


def _write(manifest: Manifest, point: OperatingPoint, graph: bytes, folder: Path) -> str:
    name = model_name(manifest, point)
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "1" / "model.onnx").write_bytes(graph)
    (folder / name / "config.pbtxt").write_text(config(manifest, point), encoding="utf-8")
    return name


def config(manifest: Manifest, point: OperatingPoint) -> str:
    """config.pbtxt of one model."""
    heads = zip(heads_of(manifest, point.exit), widths_of(manifest), strict=True)
    return CONFIG.format(
        point=point,
        network=manifest.name,
        sha256=manifest.sha256,
        name=model_name(manifest, point),
        most=MOST_FACES,
        input=manifest.input_name,
        size=point.size,
        outputs=",\n".join(f'  {{ name: "{head}" data_type: TYPE_FP32 dims: [ {width} ] }}' for head, width in heads),
        levels=max(NEWCOMERS, OTHERS),
        others=OTHERS,
        longest=LONGEST_US,
        queue=QUEUE,
    )
