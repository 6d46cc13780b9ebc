"""Elastic networks: building, training, evaluating and exporting them.

`from models import elastify` and the other names of `__all__` are the library (docs/reference/library.md); each is loaded when
it is first asked for. manifest.py is the contract with the application and needs only the standard library; torch is imported
nowhere outside this package.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.manifest import Manifest
    from models.networks.elastic import ContextHead, ElasticNetwork, ExitHead, ExitOutput, expected_age
    from models.networks.elastify import elastify, find_blocks, papers_exits
    from models.networks.flops import multiply_adds
    from models.networks.inspect import inspect_backbone
    from models.training.losses import elastic_loss

# ONNX Runtime from 1.29 on reports to its maker unless told so before it is first imported; this project sends nothing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_PLACES = {
    "ContextHead": "networks.elastic",
    "ElasticNetwork": "networks.elastic",
    "ExitHead": "networks.elastic",
    "ExitOutput": "networks.elastic",
    "Manifest": "manifest",
    "elastic_loss": "training.losses",
    "elastify": "networks.elastify",
    "expected_age": "networks.elastic",
    "find_blocks": "networks.elastify",
    "inspect_backbone": "networks.inspect",
    "multiply_adds": "networks.flops",
    "papers_exits": "networks.elastify",
}
__all__ = [
    "ContextHead",
    "ElasticNetwork",
    "ExitHead",
    "ExitOutput",
    "Manifest",
    "elastic_loss",
    "elastify",
    "expected_age",
    "find_blocks",
    "inspect_backbone",
    "multiply_adds",
    "papers_exits",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(f"models.{_PLACES[name]}"), name)
