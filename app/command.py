"""What the modules of commands/ share: how a command is added, and errors of models/ as the application's."""

from __future__ import annotations

import argparse
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import ModelError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse's, but a sub-command may be left out where `otherwise` names one."""

    otherwise: str | None = None

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self.otherwise and args is not None:
            first = args[0] if args else "-"
            if first.startswith("-") and first not in ("-h", "--help"):
                args = [self.otherwise, *args]
        return super().parse_known_args(args, namespace)


def command(sub: argparse._SubParsersAction, name: str, run: Run, text: str, example: str) -> Parser:
    """Adds a command. The first sentence of `text` stands in the overview of all commands: at most 62 characters."""
    first = text.split(". ")[0].rstrip(".") + "."
    parser = sub.add_parser(name, help=first, description=text, epilog=f"example: main.py {example}")
    parser.set_defaults(run=run)
    return parser


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """The file whose settings `run` takes and `config` shows."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the options of `run`, with _ for -; default: the user's own, where there is one",
    )


def key_value(text: str) -> tuple[str, Any]:
    """What `--option KEY=VALUE` says; VALUE as in TOML, or plain text."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise UsageError(f"--option {text}: KEY=VALUE is needed")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


@contextmanager
def translated() -> Iterator[None]:
    """Errors of models/ and of the file system as the application's."""
    from models.data.sets.base import DataError
    from models.manifest import ManifestError

    try:
        yield
    except (DataError, ManifestError, UnicodeDecodeError) as error:
        raise ModelError(str(error)) from error
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}") from error


@contextmanager
def training_errors() -> Iterator[None]:
    """Also says what to install where torch is missing."""
    from importlib.util import find_spec

    if not find_spec("torch"):
        raise UsageError("this command needs PyTorch: run `pip install -r models/requirements.txt`")
    from models.networks.keras_weights import WeightsError
    from models.shipping.check import ExportError
    from models.training.config import TrainingError

    with translated():
        try:
            yield
        except (ExportError, TrainingError, WeightsError) as error:
            raise ModelError(str(error)) from error
