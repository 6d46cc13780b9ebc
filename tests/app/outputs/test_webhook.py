"""Webhooks, over real sockets of this machine."""

from __future__ import annotations

import shutil
import ssl

import cv2
import numpy as np
import pytest

from app.cli import main
from app.errors import UsageError
from app.outputs.address import Address, Credentials, parse_url
from app.outputs.messages import Message
from app.outputs.sender import NotTaken, Refused
from app.outputs.webhook import Webhook
from tests.support.broker import certificate, free_port
from tests.support.hooks import served

MESSAGE = Message("summary", {"type": "summary", "present": 3})


def test_a_message_is_posted_as_json_with_its_token():
    with served() as (port, came):
        Webhook(Address("http", "127.0.0.1", port, "api/kiosk?door=1"), "hush").send(MESSAGE)
    ((path, headers, body),) = came
    assert path == "/api/kiosk?door=1" and body == MESSAGE.body
    assert headers["Content-Type"] == "application/json" and headers["Authorization"] == "Bearer hush"


@pytest.mark.parametrize(
    ("status", "error"), [(500, NotTaken), (503, NotTaken), (429, NotTaken), (404, Refused), (401, Refused), (302, Refused)]
)  # fmt: skip
def test_faults_of_the_server_pass_and_refusals_do_not(status, error):
    with (
        served(status) as (port, came),
        pytest.raises(error, match=f"http://127.0.0.1:{port}/... .*{status}") as raised,
    ):
        Webhook(Address("http", "127.0.0.1", port, "hush")).send(MESSAGE)
    assert len(came) == 1 and "hush" not in str(raised.value)


def test_nobody_there_is_worth_another_try():
    with pytest.raises(NotTaken, match="does not answer: Connection refused"):
        Webhook(Address("http", "127.0.0.1", free_port(), "")).send(MESSAGE)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_tls_is_checked(tmp_path, monkeypatch):
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with served(context=context) as (port, came):
        address = Address("https", "127.0.0.1", port, "x")
        with pytest.raises(NotTaken, match=r"is not trusted: .*SSL_CERT_FILE"):
            Webhook(address).send(MESSAGE)
        assert not came
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        Webhook(address).send(MESSAGE)
    assert came[0][2] == MESSAGE.body


@pytest.mark.parametrize(
    ("flag", "text", "says"),
    [
        ("--mqtt", "mqtts://kiosk:hush@broker/door", "no credentials in the address"),
        ("--webhook", "https://hush@host/x", "ELASTIC_FACES_WEBHOOK_TOKEN"),
        ("--webhook", "ftp://host/hush", "must be http://HOST"),
        ("--webhook", "https:///hush", "must be http://HOST"),
        ("--webhook", "https://host:hush/", "no usable host or port"),
        ("--webhook", "https://host:99999/hush", "no usable host or port"),
        ("--webhook", "https://host/a b", "plain ASCII"),
        ("--webhook", "http://host/hush", "unencrypted. Use https"),
        ("--mqtt", "mqtt://10.0.0.5/door", "unencrypted. Use mqtts"),
        ("--mqtt", "mqtts://broker/+/door", r"without \+"),
        ("--mqtt", "broker", "must be mqtt://HOST"),
    ],
)
def test_addresses_that_make_no_sense(flag, text, says):
    plain = "mqtt" if flag == "--mqtt" else "http"
    with pytest.raises(UsageError, match=says) as raised:
        parse_url(flag, text, plain, secret="hush")
    assert "hush" not in str(raised.value)


def test_addresses_show_no_secret():
    assert str(parse_url("--webhook", "https://host/api/hush?x=hush", "http", "t")) == "https://host:443/..."
    assert str(parse_url("--webhook", "http://[::1]:8080", "http", "t")) == "http://[::1]:8080"
    assert str(parse_url("--mqtt", "mqtt://localhost/door/", "mqtt", "t")) == "mqtt://localhost:1883/door"
    assert "hush" not in repr(Credentials("u", "hush", "hush"))


def test_a_run_tells_where_it_sends_and_what_became_of_it(tmp_path, capsys, monkeypatch):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setenv("ELASTIC_FACES_WEBHOOK_TOKEN", "hush")
    with served() as (port, came):
        run = ["run", "--source", str(tmp_path / "one.png"), "--no-show", "--exit", "4@40"]
        assert main([*run, "--webhook", f"http://127.0.0.1:{port}/hush", "--log", str(tmp_path / "log")]) == 0
    printed = capsys.readouterr()
    assert f"webhook   http://127.0.0.1:{port}/..., counts of people" in printed.out
    assert "webhook   1 messages sent, 0 dropped, 0 refused" in printed.out
    assert "hush" not in printed.out + printed.err + (tmp_path / "log").read_text()
    assert came[0][1]["Authorization"] == "Bearer hush" and came[0][2]["type"] == "summary"


def test_a_server_that_is_away_ends_no_run_and_is_told(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    run = ["run", "--source", str(tmp_path / "one.png"), "--no-show", "--exit", "4@40"]
    assert main([*run, "--webhook", f"http://127.0.0.1:{free_port()}/hush"]) == 0
    assert "webhook   0 messages sent, 1 dropped, 0 refused" in capsys.readouterr().out
