"""MQTT against a real broker on this machine (amqtt, in a process of its own)."""

from __future__ import annotations

import json
import queue
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from app.errors import OutputError
from app.outputs.address import Address, Credentials
from app.outputs.messages import Message
from app.outputs.mqtt import Mqtt, discovery
from app.outputs.sender import NotTaken
from tests.support.broker import broker, certificate, free_port

needs_broker = pytest.mark.skipif(
    not (find_spec("amqtt") and find_spec("paho")), reason="needs a broker and a client: pip install amqtt paho-mqtt"
)
NOBODY = Credentials()
SUMMARY = Message("summary", {"type": "summary", "present": 3})
WAIT_S = 20.0


@contextmanager
def heard(port: int, topics: str = "#") -> Iterator[queue.Queue]:
    """(topic, text, retained) of all that the broker passes on."""
    from paho.mqtt.client import CallbackAPIVersion, Client

    box, ready = queue.Queue(), queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _, __, m: box.put((m.topic, m.payload.decode(), m.retain))
    client.on_subscribe = lambda *_: ready.put(True)
    client.connect("127.0.0.1", port)
    client.subscribe(topics, qos=1)
    client.loop_start()
    ready.get(timeout=WAIT_S)
    try:
        yield box
    finally:
        client.disconnect()
        client.loop_stop()


@needs_broker
def test_a_broker_hears_status_summaries_and_events():
    port = free_port()
    with broker(port=port), heard(port) as box:
        mqtt = Mqtt(Address("mqtt", "127.0.0.1", port, "museum/door"), NOBODY)
        mqtt.send(SUMMARY)
        mqtt.send(Message("enter", {"type": "enter", "present": 4}))
        mqtt.close()
        came = [box.get(timeout=WAIT_S)[:2] for _ in range(4)]
        with heard(port, "museum/door/status") as late:
            assert late.get(timeout=WAIT_S) == ("museum/door/status", "offline", True), "kept for who asks later"
    assert came == [
        ("museum/door/status", "online"), ("museum/door/summary", '{"type":"summary","present":3}'),
        ("museum/door/event", '{"type":"enter","present":4}'), ("museum/door/status", "offline"),
    ]  # fmt: skip


@needs_broker
def test_home_assistant_finds_every_sensor():
    port = free_port()
    with broker(port=port), heard(port, "homeassistant/#") as box:
        mqtt = Mqtt(Address("mqtt", "127.0.0.1", port, "museum/door"), NOBODY, home_assistant=True)
        mqtt.send(SUMMARY)
        came = dict([box.get(timeout=WAIT_S)[:2] for _ in discovery("museum/door")])
        mqtt.close()
    assert {t: json.loads(text) for t, text in came.items()} == dict(discovery("museum/door"))
    first = json.loads(came["homeassistant/sensor/museum_door/present/config"])
    assert first["state_topic"] == "museum/door/summary" and first["availability_topic"] == "museum/door/status"
    assert len({c["unique_id"] for _, c in discovery("a/b")} | {c["unique_id"] for _, c in discovery("a/c")}) == 10


@needs_broker
def test_a_broker_that_was_away_is_found_again():
    port = free_port()
    mqtt = Mqtt(Address("mqtt", "127.0.0.1", port, ""), NOBODY)
    with pytest.raises(NotTaken, match=rf"mqtt://127.0.0.1:{port} does not answer: Connection refused"):
        mqtt.send(SUMMARY)
    with broker(port=port):
        mqtt.send(SUMMARY)
        first = mqtt._client
    while first.is_connected():  # until the broken connection has been noticed
        first._thread.join(0.01)
    with pytest.raises(NotTaken):
        mqtt.send(SUMMARY)
    with broker(port=port), heard(port, "elastic-faces/summary") as box:
        mqtt.send(SUMMARY)
        assert json.loads(box.get(timeout=WAIT_S)[1]) == SUMMARY.body
        mqtt.close()


# paho lets go of the socket of a handshake that failed without closing it; Python closes it with the exception.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
@needs_broker
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_tls_is_checked(tmp_path, monkeypatch):
    cert, key = certificate(tmp_path)
    port = free_port()
    with broker(port=port, cert=str(cert), key=str(key)):
        mqtt = Mqtt(Address("mqtts", "127.0.0.1", port, ""), NOBODY)
        with pytest.raises(NotTaken, match=r"is not trusted: .*SSL_CERT_FILE"):
            mqtt.send(SUMMARY)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        mqtt.send(SUMMARY)
        mqtt.close()


@needs_broker
def test_a_password_is_asked_for(tmp_path):
    from pwdlib.hashers.argon2 import Argon2Hasher  # amqtt's own

    passwords, port = tmp_path / "passwords", free_port()
    passwords.write_text(f"kiosk:{Argon2Hasher().hash('hush')}\n")
    with broker(port=port, passwords=str(passwords)):
        address = Address("mqtt", "127.0.0.1", port, "")
        with pytest.raises(NotTaken, match=r"refuses the connection: .*ELASTIC_FACES_MQTT_PASSWORD") as raised:
            Mqtt(address, Credentials("kiosk", "wrong")).send(SUMMARY)
        assert "wrong" not in str(raised.value)
        mqtt = Mqtt(address, Credentials("kiosk", "hush"))
        mqtt.send(SUMMARY)
        mqtt.close()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(OutputError, match=r"pip install -r requirements-mqtt\.txt"):
        Mqtt(Address("mqtt", "127.0.0.1", 1883, ""), NOBODY)
