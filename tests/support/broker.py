"""A real MQTT broker on this machine's loopback, in a process of its own that ends with its standard input.

    python -m tests.support.broker '{"port": 1883, "passwords": "FILE", "cert": "cert.pem", "key": "key.pem"}'

It prints "ready" when it listens.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def broker(**options: str | int) -> Iterator[subprocess.Popen]:
    """Runs one until the block ends; `stdout` has been read up to its first line."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.broker", json.dumps(options)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout.readline().strip() == "ready"
        yield process
        process.stdin.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key, made by openssl."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:TRUE"),
            *("-out", str(cert), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


async def serve(options: dict) -> None:
    from amqtt.broker import Broker

    listener = {"type": "tcp", "bind": f"127.0.0.1:{options['port']}"}
    if "cert" in options:
        listener |= {"ssl": True, "certfile": options["cert"], "keyfile": options["key"]}
    plugins: dict[str, dict] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    if "passwords" in options:
        plugins = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": options["passwords"]}}
    made = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await made.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await made.shutdown()


if __name__ == "__main__":
    logging.disable()
    asyncio.run(serve(json.loads(sys.argv[1])))
