"""For Triton's Python backend: one graph in ONNX Runtime. What waits together is read together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = os.environ["SERVE_PACKAGES"].split(os.pathsep)  # the Python that Triton starts knows no environment

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("SERVE_THREADS", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._outputs = [o.name for o in self._session.get_outputs()]

    def execute(self, requests: list) -> list:
        batches = [triton.get_input_tensor_by_name(r, self._input).as_numpy() for r in requests]
        given = self._session.run(self._outputs, {self._input: np.concatenate(batches)})
        ends = np.cumsum([len(b) for b in batches])[:-1]
        columns = [np.split(g, ends) for g in given]
        return [
            triton.InferenceResponse([triton.Tensor(n, c[i]) for n, c in zip(self._outputs, columns, strict=True)])
            for i in range(len(requests))
        ]
