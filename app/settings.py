"""The settings of a run: frozen, checked, and printable. Nobody else reads the configuration file or the environment.

Command line before file before default. The file is TOML with the options' names, - written as _:

    source = "rtsp://192.168.1.20/stream"
    target_fps = 20
    exit = "auto"
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import UsageError

APP_NAME = "elastic-faces"
DEFAULT_FPS = 15.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Exactly one of `target_fps` and `budget_ms` rules: see `frame_budget_ms`."""

    source: str = "auto"
    target_fps: float | None = None
    budget_ms: float | None = None
    device: str = "auto"
    exit: str = "auto"
    model: str = "mobilenet_v1_075"
    max_faces: int = 32
    show: bool | None = None  # None: where there is a screen
    loop: bool = False
    realtime: bool = False
    output: Path | None = None
    results: Path | None = None
    log: Path | None = None
    threads: int | None = None
    recalibrate: bool = False

    def __post_init__(self) -> None:
        if self.target_fps is not None and self.budget_ms is not None:
            raise UsageError("give --target-fps or --budget-ms, not both: each sets the time that a frame may take")
        if self.target_fps is not None and not 0.1 <= self.target_fps <= 1000:
            raise UsageError(f"--target-fps must be from 0.1 to 1000, got {self.target_fps:g}")
        if self.budget_ms is not None and not 1 <= self.budget_ms <= 10_000:
            raise UsageError(f"--budget-ms must be from 1 to 10000, got {self.budget_ms:g}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"--device must be auto, cpu or cuda, got {self.device!r}")
        if not 1 <= self.max_faces <= 256:
            raise UsageError(f"--max-faces must be from 1 to 256, got {self.max_faces}")
        if self.threads is not None and not 1 <= self.threads <= 256:
            raise UsageError(f"--threads must be from 1 to 256, got {self.threads}")
        if not self.source:
            raise UsageError("--source is empty: give demo, a camera's number, a file or a URL")
        paths = [_resolved(p) for p in (self.output, self.results, self.log) if p]
        files = [p for p in paths if str(p) != os.devnull]
        if len(set(files)) != len(files):
            raise UsageError("--output, --results and --log must be different files")
        if _resolved(Path(self.source)) in files:
            raise UsageError(f"{self.source} is the source and would be overwritten: choose another output file")
        if self.loop and paths and self.show is False and not self.realtime and self.source not in ("auto", "demo"):
            raise UsageError(
                "--loop over a file without a window or --realtime would never end and fill the disk: leave out --loop"
            )

    @property
    def frame_budget_ms(self) -> float:
        """From a frame's birth to its result."""
        if self.budget_ms is not None:
            return self.budget_ms
        return 1000 / (self.target_fps or DEFAULT_FPS)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, too long a name, a loop of links
        raise UsageError(f"{str(path)[:200]!r} is no usable path: {error}") from error


_TYPES: dict[str, tuple[type, ...]] = {
    "source": (str, int),
    "target_fps": (int, float),
    "budget_ms": (int, float),
    "device": (str,),
    "exit": (str, int),
    "model": (str,),
    "max_faces": (int,),
    "show": (bool,),
    "loop": (bool,),
    "realtime": (bool,),
    "output": (str,),
    "results": (str,),
    "log": (str,),
    "threads": (int,),
    "recalibrate": (bool,),
}


def load_settings(given: dict[str, Any], config: Path | None = None) -> Settings:
    """Settings from the options that were given (None: not given) over those of a file. Raises UsageError."""
    values = _read_config(config) if config else {}
    if given.get("target_fps") is not None or given.get("budget_ms") is not None:
        # Either of the two on the command line replaces whichever the file has.
        values.pop("target_fps", None)
        values.pop("budget_ms", None)
    values |= {k: v for k, v in given.items() if v is not None}
    outputs = [Path(values[name]) for name in ("output", "results", "log") if name in values]
    if config and any(_resolved(path) == _resolved(config) for path in outputs):
        raise UsageError(f"{config} is the configuration and would be overwritten: choose another output file")
    for name in ("output", "results", "log"):
        if name in values:
            values[name] = Path(values[name])
    for name in ("source", "exit", "model"):
        if name in values:
            values[name] = str(values[name])
    for name in ("target_fps", "budget_ms"):
        if name in values and not abs(values[name]) < 1e9:
            raise UsageError(f"--{name.replace('_', '-')} must be a number, got {str(values[name])[:20]}")
    return Settings(**values)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"configuration {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"configuration {path} is not TOML: {error}") from error
    for key, value in data.items():
        if key not in _TYPES:
            near = difflib.get_close_matches(key, _TYPES, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_TYPES)}"
            raise UsageError(f"configuration {path}: unknown key {key}{hint}")
        wrong_bool = isinstance(value, bool) and bool not in _TYPES[key]
        if wrong_bool or not isinstance(value, _TYPES[key]):
            raise UsageError(f"configuration {path}: {key} must be {_TYPES[key][-1].__name__}, got {value!r}")
    return data


def setting_names() -> list[str]:
    return [f.name for f in dataclasses.fields(Settings)]


def cache_folder() -> Path:
    """Where profiles are remembered: times of this machine, nothing about a person."""
    import platformdirs

    return Path(platformdirs.user_cache_dir(APP_NAME))
