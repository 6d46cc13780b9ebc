"""ONNX Runtime as evaluation and export use it: a whole network, every output, on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime


def cpu_session(network: bytes | str) -> Any:
    """A session over a network's content or path. Raises whatever ONNX Runtime does.

    Where this process already runs on a shared thread pool (app/network/onnx_cpu.py sets one up), sessions with threads of
    their own are refused, and without one those without are: hence two tries.
    """
    for own_threads in (True, False):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.use_per_session_threads = own_threads
        try:
            return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except RuntimeError as error:
            if not own_threads or "global thread pool" not in str(error):
                raise
    raise AssertionError("unreachable")
