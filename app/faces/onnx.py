"""ONNX Runtime for the small networks that find and follow faces: one thread that does not spin."""

from __future__ import annotations

from typing import Any

from app.errors import ModelError


def one_thread_session(network: bytes | str, name: str) -> Any:
    """A session over a network's content or path. Raises ModelError, with `name` for people.

    Two tries: a process with a shared thread pool (network/onnx_cpu.py sets one up) refuses sessions with threads of their
    own, any other process refuses sessions without.
    """
    import onnxruntime

    for own_threads in (True, False):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.use_per_session_threads = own_threads
        if own_threads:
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:
            if not own_threads or "global thread pool" not in str(error):
                raise ModelError(f"{name} cannot be loaded: {error}") from error
    raise AssertionError("unreachable")
