"""The ways in which a run may tell other systems: `--mqtt` and `--webhook`."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from app.outputs.address import Credentials, parse_url
from app.outputs.messages import Messages
from app.outputs.mqtt import Mqtt
from app.outputs.sender import Announcer, Sender
from app.outputs.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.outputs.sender import Transport


def transports_to(
    mqtt: str | None, webhook: str | None, secrets: Mapping[str, str], *, home_assistant: bool
) -> list[Transport]:
    """`secrets` are the fields of Credentials. Opens nothing yet. Raises UsageError and OutputError."""
    known = Credentials(**secrets)
    transports: list[Transport] = []
    if mqtt:
        address = parse_url("--mqtt", mqtt, "mqtt", known.username + known.password)
        transports.append(Mqtt(address, known, home_assistant))
    if webhook:
        transports.append(Webhook(parse_url("--webhook", webhook, "http", known.token), known.token))
    return transports


def announcer(
    transports: Sequence[Transport], tell: Callable[[str, str], None], *, live: bool, cameras: Sequence[str] = ("",)
) -> Announcer:
    """A sink that tells all of them. `tell` is called with the way's name when one fails or works again."""
    run, wall = uuid.uuid4().hex, time.time if live else None
    messages = {camera: Messages(wall, run, camera) for camera in cameras}
    return Announcer(messages, [Sender(t, tell=_named(tell, t.name)) for t in transports])


def _named(tell: Callable[[str, str], None], name: str) -> Callable[[str], None]:
    return lambda text: tell(name, text)
