"""Where settings come from: command line before environment before configuration file before default.

The file is TOML with the options' names, - written as _; the environment has them in capitals behind ELASTIC_FACES_.
Nobody else reads either.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import OutputError, UsageError
from app.files import check_writable
from app.settings import APP_NAME, SECRETS, Option, Settings, options, same_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "ELASTIC_FACES_"
MAX_BYTES = 1_000_000
# Giving one of these replaces the other one, where that comes from a weaker place.
RIVALS = {"target_fps": "budget_ms", "budget_ms": "target_fps"}
COMMAND_LINE, ENVIRONMENT = "command line", "environment"
_KINDS = {str: "text", Path: "text", int: "a whole number", float: "a number", bool: "true or false"}
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True)
class Loaded:
    """Settings, and what each that is set was set by: "command line", "environment" or the file's path."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None

    def summary(self) -> str:
        """One line for people: what differs from the defaults, and where that was said."""
        said: dict[str, list[str]] = {str(self.file): []} if self.file else {}
        for option in options():
            value, origin = getattr(self.settings, option.name), self.origins.get(option.name)
            if origin and value != option.default:
                said.setdefault(origin, []).append(f"{option.name} = {shown(option, value)}")
        parts = [f"{origin}: {', '.join(what) or 'nothing but defaults'}" for origin, what in said.items()]
        return "; ".join(parts) or f"defaults (no file {default_file()})"


def load(given: Mapping[str, Any], config: Path | None = None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Settings from options as parsed from the command line (None: not given) over everything else. Raises UsageError.

    Without `config` the file is the one that the environment names, else the user's own where there is one.
    """
    from_environment = _read_environment(environment)
    named = from_environment.pop("config", None)
    file = config or (Path(named) if named else None)
    if file is None and os.path.exists(default_file()):
        file = default_file()
    layers = [
        (COMMAND_LINE, {k: v for k, v in given.items() if v is not None}),
        (ENVIRONMENT, from_environment),
        *([(str(file), read_file(file))] if file else []),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        fresh = {k: v for k, v in layer.items() if k not in values and RIVALS.get(k) not in values}
        values |= fresh
        origins |= dict.fromkeys(fresh, origin)
    settings = Settings(**values)
    if file and any(same_file(file, path) for path in settings.written.values()):
        raise UsageError(f"{file} is the configuration and would be overwritten: choose another output file")
    return Loaded(settings, origins, file)


def default_file() -> Path:
    """The user's own configuration file, whether there is one or not."""
    import platformdirs

    return Path(platformdirs.user_config_dir(APP_NAME)) / "config.toml"


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, each of its type. Raises UsageError."""
    try:
        if path.exists() and not path.is_file() and str(path) != os.devnull:
            raise UsageError(f"configuration {path} is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        raise UsageError(f"configuration {path} cannot be read: {getattr(error, 'strerror', '') or error}") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"configuration {path} is larger than {MAX_BYTES} bytes: that is not a configuration")
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))  # Windows' editors put a mark in front
    except RecursionError as error:
        raise UsageError(f"configuration {path} cannot be read: it is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, an integer of thousands of digits
        raise UsageError(f"configuration {path} is not TOML: {error}") from error
    known = {o.name: o for o in options()}
    for key in data:
        if key not in known:
            raise UsageError(f"configuration {path}: unknown key {_short(key)}{_nearest(key, known)}")
    return {key: _from_toml(known[key], value, path) for key, value in data.items()}


def template() -> str:
    """A configuration file in which every setting stands at its default, commented out."""
    lines = [
        "# Elastic Faces: settings of `main.py run`. Take the # away from a line to change what stands there.",
        f"# The command line comes before the environment ({PREFIX}SOURCE=...), that before this file. Paths are relative",
        "# to the folder in which the program is started.",
    ]
    group = ""
    for option in options():
        if option.group != group:
            group = option.group
            lines += ["", f"# --- {group} ---"]
        lines += ["", *_wrapped(f"{option.help}. Default: {default_text(option)}.")]
        example = dataclasses.replace(option, hidden_path=False, secret=False)
        value = option.example if option.default is None else option.default
        lines.append(f"#{option.name} = {shown(example, value)}")
    return "\n".join(lines) + "\n"


def write(path: Path, *, replace: bool) -> None:
    """Writes `template()`. Raises OutputError, also where a file is there that is not to be replaced."""
    try:
        if path == default_file():
            path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
        with path.open("w" if replace else "x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError as error:
        raise OutputError(f"{path} is there already: choose another path, or replace it with --force") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def in_force(loaded: Loaded) -> str:
    """Every setting and where it comes from, as a configuration file would say it."""
    rows = []
    for option in options():
        value = getattr(loaded.settings, option.name)
        text = f"{option.name} = {shown(option, value)}" if value is not None else f"#{option.name} ="
        origin = loaded.origins.get(option.name) or f"default: {default_text(option)}"
        rows.append(f"{text:<40}  # {origin}")
    return "\n".join(rows)


def default_text(option: Option) -> str:
    """The default in words."""
    if option.default_text or option.default is None:
        return option.default_text or "none"
    return ("on" if option.default else "off") if option.kind is bool else str(option.default)


def shown(option: Option, value: Any) -> str:
    """A value as TOML; a URL without its password and what follows its question mark."""
    if option.kind in (str, Path):
        text = str(value).encode("utf-8", "backslashreplace").decode()  # a name that is not UTF-8 must not end a print
        text = re.sub(r"//[^/]*@", "//...@", text)
        if option.secret:
            return '"..."'
        if option.hidden_path:
            text = re.sub(r"(://[^/?]*)[/?].+", r"\1/...", text)
        return json.dumps(re.sub(r"(://[^?]*\?).*", r"\1...", text), ensure_ascii=False)
    return str(value).lower() if option.kind is bool else str(value)


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    known = {o.name.upper(): o for o in options()}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or not text or variable in SECRETS.values():
            continue
        if name == "CONFIG":
            values["config"] = text
        elif name not in known:
            hint = _nearest(name, [*known, "CONFIG"])
            raise UsageError(f"environment: unknown name behind {PREFIX}: {_short(name)}{hint}")
        else:
            values[known[name].name] = _from_text(known[name], text, variable)
    return values


def _from_toml(option: Option, value: Any, path: Path) -> Any:
    where, kind = f"configuration {path}: {option.name}", option.kind
    if kind in (str, Path) and type(value) in (str, int):  # `source = 0` and `exit = 9` are meant well
        try:
            return _expanded(str(value), where) if kind is Path else str(value)
        except ValueError as error:  # an integer of thousands of digits, written in hexadecimal
            raise UsageError(f"{where} is out of range") from error
    if kind is float and type(value) in (int, float):
        return value
    if type(value) is kind:
        return value
    raise UsageError(f"{where} must be {_KINDS[kind]}, got {_short(_repr(value))}")


def _from_text(option: Option, text: str, name: str) -> Any:
    try:
        if option.kind is bool:
            return _WORDS[text.strip().lower()]
        return _expanded(text, name) if option.kind is Path else option.kind(text)
    except (ValueError, KeyError) as error:
        raise UsageError(f"{name} must be {_KINDS[option.kind]}, got {_short(repr(text))}") from error


def _expanded(text: str, where: str) -> Path:
    """A path; ~ as the shell would have replaced it on the command line."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{where}: {text[:200]!r} is not a usable path: {error}") from error


def _nearest(word: str, known: Iterable[str]) -> str:
    # What is this long is near to no name, and difflib would take minutes over it.
    near = difflib.get_close_matches(word, known, 1) if len(word) < 100 else []
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number out of range"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text[0].upper() + text[1:], 110, initial_indent="# ", subsequent_indent="# ")
