from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import build_parser
from app.config import load
from app.errors import UsageError
from app.settings import Settings, options
from tests.support.paths import ROOT


def test_budget_and_rate_are_two_names_for_one_thing():
    assert Settings(target_fps=25).frame_budget_ms == 40.0
    assert Settings(budget_ms=33).frame_budget_ms == 33
    assert Settings().frame_budget_ms == pytest.approx(1000 / 15)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"target_fps": 0}, {"target_fps": -3}, {"target_fps": float("inf")}, {"budget_ms": 0.5}, {"budget_ms": float("nan")},
        {"target_fps": 10**400}, {"target_fps": 20, "budget_ms": 20}, {"device": "tpu"}, {"max_faces": 0}, {"threads": 0},
        {"source": ""}, {"results": "a.out", "log": "a.out"}, {"source": "clip.mp4", "output": "clip.mp4"},
        {"source": "clip.mp4", "loop": True, "results": "r", "show": False}, {"output": "a\0b.mp4"},
    ],
)  # fmt: skip
def test_nonsense_is_refused(nonsense):
    kinds = {o.name: o.kind for o in options()}
    given = {k: v if isinstance(v, int | float) else kinds[k](v) for k, v in nonsense.items()}
    with pytest.raises(UsageError):
        load(given)


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().source = "0"


def test_every_setting_is_an_option_with_help_and_the_other_way_round():
    args = vars(build_parser().parse_args(["run"]))
    assert set(args) - {"run", "config"} == {o.name for o in options()}
    assert all(args[o.name] is None for o in options()), "not given must be told from given as the default"
    for option in options():
        assert option.help and option.group and option.kind in (str, int, float, bool, Path)


def test_the_reference_names_every_option_in_its_group():
    """What an option means stands in one place, its help."""
    docs = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    groups: dict[str, list[str]] = {}
    for option in options():
        groups.setdefault(option.group, []).append(f"`{option.flag}`")
    for group, flags in groups.items():
        row = f"| {group} | {' '.join(flags)} |"
        assert row in docs, f"docs/reference/command-line.md lacks this row:\n{row}"


def test_home_assistant_hears_by_mqtt_only():
    with pytest.raises(UsageError, match="--mqtt"):
        Settings(home_assistant=True)
    assert Settings(home_assistant=True, mqtt="mqtt://localhost").home_assistant


def test_labels_tell_what_is_asked_for_and_the_standing_line_is_true():
    assert Settings().told == ("age", "expression") and not Settings().keeps
    assert Settings(labels="age, gender").told == ("age", "gender")
    for wrong in ("agee", "", "age;gender", "age,,gender"):
        with pytest.raises(UsageError, match="--labels takes age, expression, gender"):
            Settings(labels=wrong)
    assert Settings(results=Path("r")).keeps and Settings(mqtt="mqtt://localhost").keeps
    assert not Settings(log=Path("l"), metrics="127.0.0.1:9108").keeps


def test_a_camera_s_size_is_two_numbers():
    assert Settings(camera_size="1920X1080").camera_pixels == (1920, 1080)
    for wrong in ("1920", "0x0", "1920x", "big", "1x1", "123456x2"):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
            Settings(camera_size=wrong)
