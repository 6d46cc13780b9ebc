"""README and docs point at files, commands and options that exist. CHANGELOG and decisions may name what is gone."""

from __future__ import annotations

import argparse
import itertools
import re
import shlex
from pathlib import Path

import pytest

from app.cli import build_parser
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CARDS = [*sorted((ROOT / "models" / "weights").glob("*.md")), *sorted((ROOT / "align" / "weights").glob("*.md"))]
PRESENT = [p for p in PAGES if p.parent.name != "decisions"]
# Files of the project named in backticks, as in `app/overlay/layout.py`. Capitals and braces stand for a name.
PATH = re.compile(r"^(?:app|align|scheduler|models|tests|docs|deploy)/[a-z0-9_./-]+$")
SHELL = re.compile(r"^```sh\n.*?^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"^\S*\[[^\]]*\]\(\S+\)\S*$")
PARSER = build_parser()


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_of(text: str) -> list[str]:
    """Every line of the fenced blocks, less comments, and every piece in backticks."""
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    pieces = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    return [line.split(" #")[0] for line in lines] + [" ".join(piece.split()) for piece in pieces]


def calls_of(text: str) -> list[list[str]]:
    """The words of each command: after `main.py`, in `make run ARGS="..."`, or alone, as in `bench crowd --minutes 3`."""
    calls = []
    for code in code_of(text):
        if through_make := re.search(r'make run ARGS="([^"]*)"', code):
            calls.append(["run", *through_make[1].split()])
        elif "main.py " in code:
            calls.append(code.split("main.py ", 1)[1].split())
        elif len(words := code.split()) > 1 and words[0] in choices(PARSER):
            calls.append(words)
    return [words for words in calls if words and not words[0].isupper()]


def choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser | None]:
    """What a parser's positional argument may be: its commands, or words that are chosen from."""
    found: dict[str, argparse.ArgumentParser | None] = {}
    for action in parser._actions:
        if not action.option_strings and action.choices:
            found |= action.choices if isinstance(action.choices, dict) else dict.fromkeys(action.choices)
    return found


def wrong_with(words: list[str]) -> str | None:
    """The first word of a command that the command line would not take, or None. Values of options are not looked at."""
    name, *rest = words
    parser = choices(PARSER).get(name)
    if parser is None:
        return name
    kinds = choices(parser)
    options = set(parser._option_string_actions)
    if kinds:
        kind = rest[0] if rest and not rest[0].startswith("-") else next(iter(kinds))
        if kind not in kinds:
            return f"{name} {kind}"
        options |= set(getattr(kinds[kind], "_option_string_actions", ()))
    return next((w for w in rest if w.startswith("--") and re.split("[=.,]", w)[0] not in options), None)


@pytest.mark.parametrize("page", PAGES + CARDS, ids=named)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    """The file exists, and the heading, where the link names one."""
    path, _, anchor = link.partition("#")
    there = page.parent / path if path else page
    return there.exists() and (not anchor or anchor in anchors(there))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_lines_of_prose_are_short(page):
    """At most 120 characters: tables, code, and lines that are one link may be longer."""
    lines = FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    assert not [
        line for line in lines if len(line) > 120 and not line.startswith(("|", "    ")) and not LINK.match(line)
    ]


@pytest.mark.parametrize("page", PRESENT, ids=named)
def test_files_that_are_named_exist(page):
    code = code_of(page.read_text(encoding="utf-8"))
    words = [word for piece in code for word in piece.split() if PATH.match(word)]
    assert not [word for word in words if not (ROOT / word).exists()]


@pytest.mark.parametrize("page", PRESENT, ids=named)
def test_commands_and_options_exist(page):
    calls = calls_of(page.read_text(encoding="utf-8"))
    wrong = [(words, bad) for words in calls if (bad := wrong_with(words))]
    assert not wrong


def shell_calls(text: str) -> list[list[str]]:
    """The words behind `main.py` of every whole command in a block of shell, less what the shell itself reads."""
    calls = []
    for line in code_of("\n".join(SHELL.findall(text))):
        words = shlex.split(line, comments=True) if "main.py " in line else []
        at = next((i for i, word in enumerate(words) if word.endswith("main.py")), len(words))
        words = list(itertools.takewhile(lambda word: word not in ("|", "&", "&&", ";", ">"), words[at + 1 :]))
        if words and not any("$" in word or "..." in word or word == "--help" for word in words):
            calls.append(words)
    return calls


@pytest.mark.parametrize("page", [*PRESENT, *CARDS], ids=named)
def test_commands_parse(page):
    for words in shell_calls(page.read_text(encoding="utf-8")):
        assert PARSER.parse_args(words).run


def test_every_decision_is_in_the_index():
    index = ROOT / "docs" / "decisions" / "README.md"
    records = [p.name for p in sorted(index.parent.glob("0*.md"))]
    assert re.findall(r"\]\((0[^)]+)\)", index.read_text(encoding="utf-8")) == records


def test_what_is_gone_would_be_noticed():
    page = (
        "`main.py train\n--widen` and `bench probe`\n```sh\npython main.py danse\npython main.py run --loop # yes\n```"
    )
    assert sorted(filter(None, map(wrong_with, calls_of(page)))) == ["--widen", "bench probe", "danse"]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1200
