"""The library's page runs from top to bottom, and its names are there, loaded only when they are asked for."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import models
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "reference" / "library.md").read_text(encoding="utf-8")


def test_the_page_runs_and_its_network_learns_and_saves(capsys):
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    names: dict = {}
    exec(compile(code, "docs/reference/library.md", "exec"), names)
    assert "['1', '2', '3', '4']" in capsys.readouterr().out
    assert list(names["early"]) == ["exit_01", "exit_02"]
    assert names["accuracy"]["exit_04"] > 0.9, names["accuracy"]
    costs = list(names["costs"].values())
    assert costs == sorted(set(costs)) and costs[1] < 0.6 * costs[-1]


@pytest.mark.parametrize("name", models.__all__)
def test_every_name_is_there_and_on_the_page(name):
    assert getattr(models, name).__name__ == name
    assert f"`{name}" in PAGE


def test_the_names_are_those_that_type_checkers_see():
    told = (ROOT / "models" / "__init__.py").read_text(encoding="utf-8").partition("if TYPE_CHECKING:")[2]
    seen = re.findall(r"import (.*)", told.partition("# ONNX")[0])
    assert sorted(name.strip() for line in seen for name in line.split(",")) == models.__all__ == sorted(models._PLACES)
    with pytest.raises(AttributeError, match="elasticise"):
        _ = models.elasticise


def test_the_package_loads_nothing_before_it_is_asked():
    code = "import sys, models; print('torch' in sys.modules, 'onnx' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
