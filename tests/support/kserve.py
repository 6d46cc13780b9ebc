"""A server that speaks KServe v2 over gRPC, on loopback: the real wire, its answers read by an engine of this process.

`behave` says what it does with a request; it may be changed at any time, and the server killed and started again on its port.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.network.engine import LocalEngine
from app.network.graphs import heads_of
from app.network.remote import model_name
from models.manifest import Manifest


class Asked(NamedTuple):
    """What came with a request for faces."""

    model: str
    faces: int
    timeout_us: int
    priority: int


class KServe:
    """Serves the points of an engine."""

    def __init__(self, manifest: Manifest, engine: LocalEngine, credentials: Any = None) -> None:
        self._manifest, self._engine, self._credentials = manifest, engine, credentials
        self._models = {model_name(manifest, p): p for p in engine.points}
        self.asked: list[Asked] = []
        self.reading = threading.Event()  # a request came
        self.behave: Callable[[Any], None] = lambda context: None
        self.change: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda output: output
        self.port = 0
        self._server: Any = None
        self.start()

    @property
    def url(self) -> str:
        return f"grpc{'s' if self._credentials else ''}://localhost:{self.port}"

    def start(self) -> None:
        """Again on the port that it had."""
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        outer = self

        class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
            def ModelInfer(self, request: Any, context: Any) -> Any:
                return outer._infer(request, context)

        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
        place = f"localhost:{self.port}"
        self.port = (
            server.add_secure_port(place, self._credentials) if self._credentials else server.add_insecure_port(place)
        )
        server.start()
        self._server = server

    def kill(self) -> None:
        self._server.stop(None).wait()

    def _infer(self, request: Any, context: Any) -> Any:
        import grpc
        from tritonclient.grpc import service_pb2

        point = self._models.get(request.model_name)
        if point is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.model_name}' is not found")
        tensor, parameters = request.inputs[0], request.parameters
        faces = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(tuple(tensor.shape))
        self.asked.append(
            Asked(
                request.model_name, len(faces), parameters["timeout"].int64_param, parameters["priority"].uint64_param
            )
        )
        self.reading.set()
        self.behave(context)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        outputs = zip(heads_of(self._manifest, point.exit), self._engine.outputs(point, faces), strict=True)
        for head, output in outputs:
            output = np.ascontiguousarray(self.change(output))
            answer.outputs.add(name=head, datatype="FP32", shape=output.shape)
            answer.raw_output_contents.append(output.tobytes())
        return answer
