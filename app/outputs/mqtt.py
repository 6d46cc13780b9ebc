"""Messages by MQTT 3.1.1, each acknowledged by the broker (QoS 1), and sensors for Home Assistant where asked for.

    PREFIX/summary   a summary every ten seconds
    PREFIX/event     somebody entered or left; the windows of `--privacy aggregate`
    PREFIX/status    online, or offline when the run ended or the connection broke (retained, the broker's last will)

PREFIX is the address's path. Home Assistant finds the sensors under homeassistant/sensor/, and makes them unavailable when
no summary came for a minute.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from app.errors import OutputError
from app.outputs.sender import TIMEOUT_S, NotTaken, Refused

if TYPE_CHECKING:
    from app.outputs.address import Address, Credentials
    from app.outputs.messages import Message

PREFIX = "elastic-faces"
EXPIRE_S = 60
KEEPALIVE_S = 30
# Field of a summary, Home Assistant's name for it, and what kind of figure it is there.
SENSORS = (
    ("present", "People in view", "measurement"),
    ("most", "Most people at once", "measurement"),
    ("entered", "Entered in ten seconds", "measurement"),
    ("left", "Left in ten seconds", "measurement"),
    ("total", "Entered since the start", "total_increasing"),
)


class Mqtt:
    """A transport. A connection that breaks is made anew by the next message."""

    name = "mqtt"

    def __init__(
        self, address: Address, credentials: Credentials, home_assistant: bool = False, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Raises OutputError where the package is missing."""
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise OutputError("--mqtt needs paho-mqtt: run `pip install -r requirements-mqtt.txt`") from error
        self.address, self._credentials, self._timeout_s = address, credentials, timeout_s
        self._prefix, self._home_assistant = address.path or PREFIX, home_assistant
        self._client: Any = None

    def send(self, message: Message) -> None:
        client = self._client
        if client is None or not client.is_connected():
            self.close()
            client = self._client = self._connect()
            self._publish(client, f"{self._prefix}/status", "online", retain=True)
            if self._home_assistant:
                for topic, sensor in discovery(self._prefix):
                    self._publish(client, topic, json.dumps(sensor), retain=True)
        camera = message.body.get("camera")  # of several: each has topics of its own
        prefix = f"{self._prefix}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', camera)}" if camera else self._prefix
        topic = f"{prefix}/{'summary' if message.kind == 'summary' else 'event'}"
        self._publish(client, topic, json.dumps(message.body, separators=(",", ":"), allow_nan=False))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if client.is_connected():
            with suppress(NotTaken):
                self._publish(client, f"{self._prefix}/status", "offline", retain=True)
        client.disconnect()
        client.loop_stop()

    def _connect(self) -> Any:
        """Raises NotTaken and Refused."""
        from paho.mqtt.client import CallbackAPIVersion, Client

        client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = self._timeout_s
        if self._credentials.username:
            client.username_pw_set(self._credentials.username, self._credentials.password or None)
        if self.address.encrypted:
            client.tls_set_context(ssl.create_default_context())
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        answered, codes = threading.Event(), []

        def on_connect(client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
            codes.append(code)
            answered.set()

        client.on_connect = on_connect
        client.on_connect_fail = client.on_disconnect = lambda *_: answered.set()
        try:
            client.connect(self.address.host, self.address.port, KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise NotTaken(
                f"{self.address} is not trusted: {error.verify_message}. "
                "Name the authority's certificate in SSL_CERT_FILE, or correct the address"
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NotTaken(f"{self.address} does not answer: {reason}") from error
        client.loop_start()
        answered.wait(self._timeout_s)
        if codes and not codes[0].is_failure:
            return client
        client.disconnect()
        client.loop_stop()
        if codes:
            raise NotTaken(
                f"{self.address} refuses the connection: {codes[0]}. "
                "Check ELASTIC_FACES_MQTT_USERNAME and ELASTIC_FACES_MQTT_PASSWORD"
            )
        raise NotTaken(f"{self.address} does not answer as a broker")

    def _publish(self, client: Any, topic: str, text: str, retain: bool = False) -> None:
        """Raises NotTaken where the broker does not acknowledge it in time, and Refused for what cannot be published."""
        try:
            about = client.publish(topic, text, qos=1, retain=retain)
            about.wait_for_publish(self._timeout_s)
            taken = about.is_published()
        except ValueError as error:
            raise Refused(f"{self.address}: {error}") from error
        except RuntimeError:  # the connection broke before
            taken = False
        if not taken:
            # With the connection goes the copy that paho would send by itself later on.
            self._client = None
            client.disconnect()
            client.loop_stop()
            raise NotTaken(f"{self.address} did not acknowledge a message")


def discovery(prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """(topic, configuration) of each sensor, as Home Assistant's MQTT integration reads them."""
    node = re.sub(r"[^a-zA-Z0-9_-]", "_", prefix)
    device = {"identifiers": [node], "name": f"Elastic Faces {prefix}", "model": "Elastic Faces"}
    return [
        (
            f"homeassistant/sensor/{node}/{field}/config",
            {
                "name": name,
                "unique_id": f"{node}_{field}",
                "state_topic": f"{prefix}/summary",
                "value_template": f"{{{{ value_json.{field} }}}}",
                "availability_topic": f"{prefix}/status",
                "expire_after": EXPIRE_S,
                "state_class": kind,
                "unit_of_measurement": "people",
                "device": device,
            },
        )
        for field, name, kind in SENSORS
    ]
