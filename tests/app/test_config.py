"""Command line before environment before file before default; whatever is wrong is named with its place."""

from __future__ import annotations

import tomllib

import pytest

from app import config
from app.cli import main
from app.config import load
from app.errors import OutputError, UsageError
from app.settings import Settings, options


def test_command_line_before_environment_before_file_before_default(tmp_path):
    file = tmp_path / "kiosk.toml"
    file.write_text('source = 1\ntarget_fps = 20\nmax_faces = 5\ndevice = "cpu"\nresults = "r.jsonl"\n')
    environment = {"ELASTIC_FACES_MAX_FACES": "6", "ELASTIC_FACES_THREADS": "2", "ELASTIC_FACES_LOOP": "", "OTHER": "x"}
    loaded = load({"max_faces": 7, "source": None}, file, environment)
    settings = loaded.settings
    assert (settings.source, settings.max_faces, settings.threads, settings.device) == ("1", 7, 2, "cpu")
    assert settings.frame_budget_ms == 50.0 and settings.exit == "auto" and settings.results.name == "r.jsonl"
    assert loaded.origins == {
        "max_faces": "command line", "threads": "environment",
        **dict.fromkeys(("source", "target_fps", "device", "results"), str(file)),
    }  # fmt: skip
    assert loaded.summary() == (
        f'{file}: source = "1", target_fps = 20, device = "cpu", results = "r.jsonl"; command line: max_faces = 7; '
        "environment: threads = 2"
    )


def test_rate_and_budget_replace_each_other_across_places(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("target_fps = 20\n")
    assert load({"budget_ms": 10.0}, file, {}).settings.frame_budget_ms == 10.0
    assert load({}, file, {"ELASTIC_FACES_BUDGET_MS": "12"}).settings.frame_budget_ms == 12.0
    assert load({"target_fps": 50.0}, file, {"ELASTIC_FACES_BUDGET_MS": "12"}).settings.frame_budget_ms == 20.0
    with pytest.raises(UsageError, match="not both"):
        load({"budget_ms": 10.0, "target_fps": 5.0}, file, {})


def test_the_users_own_file_is_read_unless_another_is_named(tmp_path):
    assert load({}, None, {}).file is None and "no file" in load({}, None, {}).summary()
    own = config.default_file()
    own.parent.mkdir(parents=True, exist_ok=True)
    try:
        own.write_text("max_faces = 3\n")
        assert load({}, None, {}).settings.max_faces == 3
        other = tmp_path / "other.toml"
        other.write_text("max_faces = 4\n")
        assert load({}, None, {"ELASTIC_FACES_CONFIG": str(other)}).settings.max_faces == 4
        assert load({}, other, {"ELASTIC_FACES_CONFIG": "nowhere"}).settings.max_faces == 4
    finally:
        own.unlink()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_face = 3", "did you mean max_faces"),
        ("zzz = 3", "known: source"),
        ("x" * 50_000 + " = 3", "unknown key x"),
        ('max_faces = "three"', "max_faces must be a whole number"),
        ("max_faces = true", "max_faces must be a whole number"),
        ("max_faces = 1.5", "max_faces must be a whole number"),
        ("loop = 1", "loop must be true or false"),
        ("source = [1]", "source must be text"),
        ("target_fps = nan", "target-fps"),
        ("target_fps = 20\nbudget_ms = 5", "not both"),
        ("= =", "not TOML"),
        ("target_fps = 1" + "0" * 400, "target-fps"),
        ("target_fps = 1" + "0" * 5000, "not TOML"),
        ("target_fps = 0x" + "f" * 9000, "target-fps"),
        ("loop = 0x" + "f" * 9000, "out of range"),
        ("exit = 0x" + "f" * 9000, "out of range"),
        ('output = "a\\u0000b.mp4"', "not a usable path"),
        ('output = "~nobody-of-this-name/b.mp4"', "not a usable path"),
        ("source = " + "[" * 20_000, "nested too deeply"),
        ('results = "{config}"', "configuration and would be overwritten"),
        ("#" * 1_000_001, "larger than"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, says):
    (tmp_path / "c.toml").write_text(text.replace("{config}", str(tmp_path / "c.toml")))
    with pytest.raises(UsageError, match=says) as raised:
        load({}, tmp_path / "c.toml", {})
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ELASTIC_FACES_SORCE", "0", "ELASTIC_FACES_: SORCE; did you mean SOURCE"),
        ("ELASTIC_FACES_X", "0", "known: SOURCE, .*CONFIG"),
        ("ELASTIC_FACES_MAX_FACES", "three", "ELASTIC_FACES_MAX_FACES must be a whole number, got 'three'"),
        ("ELASTIC_FACES_LOOP", "perhaps", "must be true or false"),
        ("ELASTIC_FACES_BUDGET_MS", "nan", "budget-ms"),
        ("ELASTIC_FACES_CONFIG", "nowhere.toml", "nowhere.toml cannot be read"),
    ],
)
def test_a_wrong_variable_says_what_is_wrong(name, text, says):
    with pytest.raises(UsageError, match=says):
        load({}, None, {name: text})


def test_switches_in_the_environment_and_off_again_on_the_command_line():
    for text, value in (("1", True), ("Yes", True), ("off", False), ("false", False)):
        assert load({}, None, {"ELASTIC_FACES_LOOP": text}).settings.loop is value
    assert load({"loop": False}, None, {"ELASTIC_FACES_LOOP": "1"}).settings.loop is False


def test_files_that_are_none_say_so(tmp_path):
    for name, says in (
        ("none.toml", "cannot be read"),
        (".", "not a regular file"),
        ("a\0b", "cannot be read|no usable"),
    ):
        with pytest.raises(UsageError, match=says):
            load({}, tmp_path / name, {})
    with pytest.raises(UsageError, match="not a regular file"):
        load({}, type(tmp_path)("/dev/zero"), {})
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not TOML"):
        load({}, tmp_path / "b.toml", {})


def test_a_file_from_an_editor_that_puts_a_mark_in_front(tmp_path):
    (tmp_path / "c.toml").write_bytes("\ufeffnotice = 'Geschätzt'\n".encode())
    assert load({}, tmp_path / "c.toml", {}).settings.notice == "Geschätzt"


def test_passwords_are_not_told(tmp_path):
    loaded = load({"source": "rtsp://kiosk:secret@10.0.0.5/live?token=secret"}, None, {})
    assert "secret" not in loaded.summary() + config.in_force(loaded) and "10.0.0.5" in loaded.summary()


def test_a_name_that_is_not_utf_8_can_be_told():
    load({"source": "\udcff.avi"}, None, {}).summary().encode()


def test_the_written_file_is_the_defaults_and_can_be_switched_on_line_by_line(tmp_path, capsys):
    path = tmp_path / "kiosk.toml"
    assert main(["config", "--write", str(path)]) == 0
    assert load({}, path, {}).settings == Settings() and not load({}, path, {}).origins
    text = path.read_text()
    for option in options():
        lines = [line[1:] for line in text.splitlines() if line.startswith(f"#{option.name} = ")]
        assert len(lines) == 1, option.name
        path.write_text(lines[0])
        loaded = load({}, path, {})
        assert set(tomllib.loads(lines[0])) == set(loaded.origins) == {option.name}
        assert option.default is None or getattr(loaded.settings, option.name) == option.default
        assert option.default is not None or getattr(loaded.settings, option.name) is not None


def test_an_existing_file_is_replaced_only_when_asked(tmp_path, capsys):
    path = tmp_path / "kiosk.toml"
    path.write_text("max_faces = 3\n")
    assert main(["config", "--write", str(path)]) == 6
    assert "--force" in capsys.readouterr().err and path.read_text() == "max_faces = 3\n"
    assert main(["config", "--write", str(path), "--force"]) == 0
    assert path.read_text() == config.template()
    assert main(["config", "--force"]) == 2
    with pytest.raises(OutputError, match="no folder"):
        config.write(tmp_path / "no" / "c.toml", replace=False)


def test_without_a_path_the_users_own_file_is_written_and_then_in_force(capsys):
    try:
        assert main(["config", "--write"]) == 0
        assert str(config.default_file()) in capsys.readouterr().out
        config.default_file().write_text("max_faces = 3\n")
        assert main(["config"]) == 0
        out = capsys.readouterr().out
        assert f"# {config.default_file()}\n" in out
        lines = {line.split(" =")[0]: line for line in out.splitlines()[1:]}
        assert lines["max_faces"].split() == ["max_faces", "=", "3", "#", str(config.default_file())]
        assert lines["device"].endswith("# default: auto") and lines["#threads"].endswith(
            "default: one less than there are cores"
        )
        assert tomllib.loads(out)["max_faces"] == 3
    finally:
        config.default_file().unlink()


def test_a_run_tells_its_settings_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ELASTIC_FACES_MAX_FACES", "3")
    assert main(["run", "--source", "nowhere.mp4", "--no-show"]) == 3
    assert capsys.readouterr().out.splitlines()[0] == (
        'settings  command line: source = "nowhere.mp4", show = false; environment: max_faces = 3'
    )


def test_credentials_are_no_settings_and_a_webhooks_path_is_not_told():
    secrets = {
        "ELASTIC_FACES_MQTT_USERNAME": "hush",
        "ELASTIC_FACES_MQTT_PASSWORD": "hush",
        "ELASTIC_FACES_WEBHOOK_TOKEN": "hush",
    }
    loaded = load({"webhook": "https://host/api/hush?x=hush", "mqtt": "mqtts://broker/door"}, None, secrets)
    told = loaded.summary() + config.in_force(loaded)
    assert "hush" not in told and "https://host/..." in told and "mqtts://broker/door" in told
