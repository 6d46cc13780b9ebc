"""Every text is translated, and what is compiled is what is written."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from align import fitness
from app.overlay import labels
from app.overlay.texts import CONTEXT, ENGLISH, FOLDER, LANGUAGES, load_texts, vocabulary
from app.settings import options
from app.window import display
from models.manifest import Manifest, find_manifest
from tests.support.paths import ROOT

os.environ["QT_QPA_PLATFORM"] = "offscreen"
NO_QT = display.why_no_display()
needs_qt = pytest.mark.skipif(NO_QT is not None, reason=NO_QT or "")
TRANSLATED = sorted(set(LANGUAGES) - {"en"})
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SOURCES = re.search(r"^TEXTS := (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def messages(path: Path) -> dict[str, list[str]]:
    """Source to translations: one, or one for each of the language's plural forms."""
    found = {}
    for message in ElementTree.parse(path).getroot().iter("message"):
        translation = message.find("translation")
        assert "type" not in translation.attrib, f"{path.name}: {message.findtext('source')!r} is unfinished"
        forms = [f.text or "" for f in translation.findall("numerusform")]
        found[message.findtext("source")] = forms or [translation.text or ""]
    return found


@needs_qt
@pytest.mark.skipif(
    NO_QT is None and importlib.util.find_spec("PyQt5.pylupdate_main") is None, reason="Debian: pyqt5-dev-tools"
)
@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_in_the_code_is_translated_and_none_is_left_over(language: str, tmp_path: Path) -> None:
    collect = [
        sys.executable,
        "-m",
        "PyQt5.pylupdate_main",
        "-tr-function",
        "say",
        *SOURCES,
        "-ts",
        str(tmp_path / "x.ts"),
    ]
    subprocess.run(collect, cwd=ROOT, check=True, capture_output=True, timeout=60)
    said = {m.findtext("source") for m in ElementTree.parse(tmp_path / "x.ts").getroot().iter("message")}
    assert said == messages(FOLDER / f"{language}.ts").keys(), "run `make translations`"


def spoken(path: Path) -> dict[str, int]:
    """Texts that a module gives to `say`, as Python reads it, with their lines; pylupdate5 does not look into f-strings."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if called(node) == "say" and isinstance(node.args[0], ast.Constant):
            found[node.args[0].value] = node.lineno
    return found


WINDOWS = sorted((ROOT / "app/window").glob("*.py")) + sorted((ROOT / "app/overlay").glob("*.py"))


def test_no_text_misses_the_translation_files() -> None:
    known = messages(FOLDER / "fi.ts").keys()
    for path in WINDOWS:
        missed = [f"line {line}: {text!r}" for text, line in spoken(path).items() if text not in known]
        assert not missed, (
            f"{path.name} says what pylupdate5 does not find, {missed}: move it out of the f-string, or add the module to TEXTS"
        )


def called(node: ast.AST) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""


def constants(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_nothing_is_painted_that_nobody_can_translate() -> None:
    """Words that go to the canvas without passing `say`."""
    for path in WINDOWS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if called(node) in ("Run", "_centred", "_right", "text", "measure") and node.args:
                said = {text for n in ast.walk(node.args[0]) if called(n) == "say" for text in constants(n)}
                words = {text for text in constants(node.args[0]) - said if re.search("[A-Za-z]{2}", text)}
                assert words <= {"ms"}, f"{path.name}, line {node.lineno}: {words}"


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_empty_or_loses_a_placeholder(language: str) -> None:
    def placeholders(text: str) -> list[str]:
        return sorted(re.findall(r"\{\w+\}|%n", text))

    for source, forms in messages(FOLDER / f"{language}.ts").items():
        assert all(f.strip() and placeholders(f) == placeholders(source) for f in forms), (source, forms)
        assert len(forms) == (2 if "%n" in source else 1), source


@needs_qt
@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    from PyQt5.QtCore import QTranslator

    translator = QTranslator()
    assert translator.load(str(FOLDER / f"{language}.qm"))
    for source, forms in messages(FOLDER / f"{language}.ts").items():
        for count, form in zip((1, 5), forms, strict=False):
            assert translator.translate(CONTEXT, source.encode(), None, count) == form, "run `make translations`"


@pytest.mark.skipif(shutil.which("lrelease") is None, reason="lrelease is not installed (Debian: qttools5-dev-tools)")
@pytest.mark.parametrize("language", TRANSLATED)
def test_compiling_again_gives_the_same_file(language: str, tmp_path: Path) -> None:
    compiled = tmp_path / "x.qm"
    subprocess.run(["lrelease", "-silent", FOLDER / f"{language}.ts", "-qm", compiled], check=True, timeout=60)
    assert compiled.read_bytes() == (FOLDER / f"{language}.qm").read_bytes(), "run `make translations`"


@needs_qt
@pytest.mark.parametrize("language", TRANSLATED)
def test_words_of_labels_are_translated(language: str) -> None:
    manifest, say = Manifest.read(find_manifest("mobilenet_v1_075")), load_texts(language)
    words = [*map(labels.GENDERS.get, manifest.genders), *(labels.EXPRESSIONS.get(e, e) for e in manifest.expressions)]
    words += [fitness.TURNED_AWAY, fitness.AT_THE_EDGE, fitness.TOO_SMALL]
    assert set(words) <= set(vocabulary(ENGLISH))
    assert all(say(word) != word for word in words if word != "neutral")


@needs_qt
def test_counts_and_numbers_follow_the_language() -> None:
    finnish, swedish = load_texts("fi"), load_texts("sv")
    assert [ENGLISH("%n face(s)", "", n) for n in (0, 1, 7)] == ["0 faces", "1 face", "7 faces"]
    assert [finnish("%n face(s)", "", n) for n in (0, 1, 7)] == ["0 henkilöä", "1 henkilö", "7 henkilöä"]
    assert [swedish("%n face(s)", "", n) for n in (1, 7)] == ["1 ansikte", "7 ansikten"]
    assert [say.number(66.66, 1) for say in (ENGLISH, finnish, swedish)] == ["66.7", "66,7", "66,7"]
    assert finnish("what nobody translated") == "what nobody translated"


@needs_qt
@pytest.mark.parametrize(
    ("system", "language"), [("fi_FI", "fi"), ("sv_FI", "sv"), ("en_US", "en"), ("ja_JP", "en"), ("C", "en")]
)
def test_auto_is_the_systems_language(system: str, language: str) -> None:
    code = "from app.overlay.texts import load_texts; print(load_texts('auto').language)"
    environment = {**os.environ, "LC_ALL": f"{system}.UTF-8" if system != "C" else "C", "LANGUAGE": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == language


@needs_qt
def test_a_missing_file_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.overlay.texts.FOLDER", tmp_path)
    load_texts.cache_clear()
    with pytest.raises(FileNotFoundError, match="make translations"):
        load_texts("fi")


def test_the_setting_knows_every_language() -> None:
    (option,) = (o for o in options() if o.name == "language")
    assert set(option.choices) == {"auto", *LANGUAGES}
