from __future__ import annotations

import pytest

from app.cli import build_parser
from app.errors import UsageError
from app.settings import _TYPES, Settings, load_settings, setting_names


def test_budget_and_rate_are_two_names_for_one_thing():
    assert load_settings({"target_fps": 25}).frame_budget_ms == 40.0
    assert load_settings({"budget_ms": 33}).frame_budget_ms == 33
    assert load_settings({}).frame_budget_ms == pytest.approx(1000 / 15)


def test_command_line_before_file_before_default(tmp_path):
    file = tmp_path / "kiosk.toml"
    file.write_text('source = 1\ntarget_fps = 20\nmax_faces = 5\nresults = "r.jsonl"\n')
    settings = load_settings({"max_faces": 7, "source": None}, file)
    assert (settings.source, settings.max_faces, settings.frame_budget_ms, settings.device) == ("1", 7, 50.0, "auto")
    assert settings.results.name == "r.jsonl"
    assert load_settings({"budget_ms": 10.0}, file).frame_budget_ms == 10.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_face = 3", "did you mean max_faces"),
        ("zzz = 3", "known: source"),
        ('max_faces = "three"', "max_faces must be int"),
        ("max_faces = true", "max_faces must be int"),
        ("loop = 1", "loop must be bool"),
        ("target_fps = nan", "target-fps"),
        ("target_fps = 20\nbudget_ms = 5", "not both"),
        ("= =", "not TOML"),
        ("target_fps = 1" + "0" * 400, "target-fps"),
        ('output = "a\\u0000b.mp4"', "no usable path"),
        ("source = " + "[" * 20_000, "not TOML"),
        ('results = "{config}"', "configuration and would be overwritten"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, says):
    (tmp_path / "c.toml").write_text(text.replace("{config}", str(tmp_path / "c.toml")))
    with pytest.raises(UsageError, match=says):
        load_settings({}, tmp_path / "c.toml")


def test_a_missing_or_binary_file_says_so(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings({}, tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not TOML"):
        load_settings({}, tmp_path / "b.toml")


@pytest.mark.parametrize(
    "nonsense",
    [
        {"target_fps": 0}, {"target_fps": -3}, {"target_fps": float("inf")}, {"budget_ms": 0.5}, {"budget_ms": float("nan")},
        {"target_fps": 20, "budget_ms": 20}, {"device": "tpu"}, {"max_faces": 0}, {"threads": 0}, {"source": ""},
        {"results": "a.out", "log": "a.out"}, {"source": "clip.mp4", "output": "clip.mp4"},
        {"source": "clip.mp4", "loop": True, "results": "r", "show": False},
    ],
)  # fmt: skip
def test_nonsense_is_refused(nonsense):
    with pytest.raises(UsageError):
        load_settings(nonsense)


def test_settings_file_and_command_line_know_the_same_names():
    help_text = build_parser().parse_args(["run"])
    assert set(setting_names()) == set(_TYPES) == set(vars(help_text)) - {"run", "config"}


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().source = "0"
