"""Serves what `main.py export --triton DIR` wrote by a real Triton, without a container: for tests, and to try it out.

    .venv-triton/bin/python deploy/triton/serve.py DIR [--port 8001] [--threads 1]

The Triton is the one that PyTriton brings along (`make triton` sets its environment up). It has no ONNX Runtime backend, so the
same configurations are loaded with Triton's Python backend, which runs the same graphs in ONNX Runtime on the CPU (model.py).
For a site use Triton's own container (docs/guides/many-kiosks.md).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

STUB = "triton_python_backend_stub"


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve a model repository on this machine's loopback.")
    parser.add_argument("repository", type=Path, help="what `main.py export --triton` wrote")
    parser.add_argument("--port", type=int, default=8001, help="for gRPC; default 8001")
    parser.add_argument("--threads", type=int, default=1, help="for each model; default 1")
    parser.add_argument("--only", default="", metavar="A,B", help="only models whose names end so")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loaded = as_python(args.repository, Path(folder), tuple(args.only.split(",")))
        if not loaded:
            print(f"{args.repository} holds no model repository: `main.py export --triton` writes one", file=sys.stderr)
            return 2
        server = subprocess.Popen(command(Path(folder), args.port), env=environment(args.threads))
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return server.wait()


def as_python(repository: Path, folder: Path, only: tuple[str, ...]) -> int:
    """Copies the models, each with the Python backend in place of ONNX Runtime's; how many there are."""
    configs = [c for c in sorted(repository.glob("*/config.pbtxt")) if c.parent.name.endswith(only)]
    for config in configs:
        version = folder / config.parent.name / "1"
        version.mkdir(parents=True)
        text = config.read_text(encoding="utf-8").replace('backend: "onnxruntime"', 'backend: "python"')
        (version.parent / "config.pbtxt").write_text(text + "instance_group [ { kind: KIND_CPU count: 1 } ]\n")
        shutil.copy(config.parent / "1" / "model.onnx", version)
        shutil.copy(Path(__file__).with_name("model.py"), version)
    return len(configs)


def command(folder: Path, port: int) -> list[str]:
    import pytriton

    triton = Path(pytriton.__file__).parent / "tritonserver"
    stub = triton / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}" / STUB
    place = triton / "backends" / "python" / STUB
    if not place.exists():
        shutil.copy(stub, place)
    return [
        str(triton / "bin" / "tritonserver"),
        f"--model-repository={folder}",
        f"--backend-directory={triton / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name=faces-{port}-",
        *("--grpc-address=127.0.0.1", f"--grpc-port={port}"),
        *(
            "--allow-http=false",
            "--allow-metrics=false",
            "--disable-auto-complete-config",
            "--log-info=false",
            "--model-load-thread-count=4",
        ),
    ]


def environment(threads: int) -> dict[str, str]:
    """Triton starts a Python of its own: it needs this one's library and packages."""
    libraries = f"{sysconfig.get_config_var('LIBDIR')}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    packages = os.pathsep.join(p for p in sys.path if p.endswith("site-packages"))
    ours = {"LD_LIBRARY_PATH": libraries, "SERVE_PACKAGES": packages, "SERVE_THREADS": str(threads)}
    return os.environ | ours | {"ORT_DISABLE_TELEMETRY": "1"}


if __name__ == "__main__":
    sys.exit(main())
