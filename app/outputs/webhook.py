"""Messages as JSON by HTTP POST. No redirect is followed and no proxy asked: the address given gets them, or nobody."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from typing import TYPE_CHECKING

from app.outputs.sender import TIMEOUT_S, NotTaken, Refused

if TYPE_CHECKING:
    from app.outputs.address import Address
    from app.outputs.messages import Message

# Answers after which the same message may be taken: a timeout, too early, too many, and all faults of the server.
AGAIN = {408, 425, 429}
MOST_ANSWER = 65_536


class Webhook:
    """A transport. Certificates are checked against the system's authorities, or those that SSL_CERT_FILE names."""

    name = "webhook"

    def __init__(self, address: Address, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.address, self._timeout_s = address, timeout_s
        self._headers = {"Content-Type": "application/json", "User-Agent": "elastic-faces", "Connection": "close"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._context = ssl.create_default_context() if address.encrypted else None

    def send(self, message: Message) -> None:
        body = json.dumps(message.body, separators=(",", ":"), allow_nan=False).encode()
        try:
            with closing(self._connection()) as connection:
                connection.request("POST", f"/{self.address.path}", body, self._headers)
                answer = connection.getresponse()
                answer.read(MOST_ANSWER)
        except ssl.SSLCertVerificationError as error:
            raise NotTaken(
                f"{self.address} is not trusted: {error.verify_message}. "
                "Name the authority's certificate in SSL_CERT_FILE, or correct the address"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NotTaken(f"{self.address} does not answer: {reason}") from error
        if answer.status in AGAIN or answer.status >= 500:
            raise NotTaken(f"{self.address} answers {answer.status} {answer.reason[:80]}")
        if not 200 <= answer.status < 300:
            raise Refused(
                f"{self.address} refuses what it is sent: {answer.status} {answer.reason[:80]}. "
                "Check the address and ELASTIC_FACES_WEBHOOK_TOKEN"
            )

    def close(self) -> None:
        """Each message has a connection of its own."""

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.address.host, self.address.port
        if self._context:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
