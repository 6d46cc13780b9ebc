"""Where figures may be sent or served: addresses, checked, and shown without what may be secret in them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.errors import UsageError

# Scheme to its port, and whether it is encrypted.
SCHEMES = {"mqtt": (1883, False), "mqtts": (8883, True), "http": (80, False), "https": (443, True)}


@dataclass(frozen=True)
class Address:
    """A server, and what is asked of it. `path` has the query with it, and no slash in front."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def encrypted(self) -> bool:
        return SCHEMES[self.scheme][1]

    def __str__(self) -> str:
        """For people and logs. Webhooks often carry their secret in the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = self.path if self.scheme.startswith("mqtt") else "..." if self.path else ""
        return f"{self.scheme}://{host}:{self.port}/{path}".removesuffix("/")


@dataclass(frozen=True)
class Credentials:
    """Out of the environment only, so that no settings file, process list or log has them."""

    username: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


def parse_url(flag: str, text: str, plain: str, secret: str) -> Address:
    """An address of the scheme `plain`, or of that with TLS. `secret` is what would be sent along, if anything.

    Raises UsageError, which does not repeat the address: somebody may have written a password into it.
    """
    example = f"{plain}s://host.example/kiosk"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{flag} has no usable host or port: write it as {example}") from error
    if parts.scheme not in (plain, plain + "s") or not parts.hostname or parts.fragment or not text.isprintable():
        raise UsageError(f"{flag} must be {plain}://HOST/... or {plain}s://HOST/..., such as {example}")
    if " " in text or not parts.netloc.isascii() or not parts.path.isascii():
        raise UsageError(f"{flag} must be plain ASCII without blanks, such as {example}")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{flag}: no credentials in the address, where process lists and logs would show them. "
            "Set ELASTIC_FACES_MQTT_USERNAME and ELASTIC_FACES_MQTT_PASSWORD, or ELASTIC_FACES_WEBHOOK_TOKEN, "
            "in the environment"
        )
    if plain == "mqtt" and (parts.query or "+" in parts.path):
        raise UsageError(f"{flag}: the path is the topics' beginning, without + and ?, such as {example}")
    path = parts.path.strip("/") if plain == "mqtt" else parts.path.removeprefix("/")
    address = Address(
        parts.scheme,
        parts.hostname,
        port or SCHEMES[parts.scheme][0],
        path + (f"?{parts.query}" if parts.query else ""),
    )
    if secret and not address.encrypted and not is_local(address.host):
        raise UsageError(f"{flag} {address}: credentials would cross the network unencrypted. Use {plain}s://")
    return address


def is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
