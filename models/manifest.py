"""The contract between training and the application: what a network file needs to be used rightly.

A manifest is NAME.json beside NAME.onnx. Standard library only, so that everybody may read it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 2
COVERAGES = (50, 68, 90)  # per cent of faces whose age lies in the interval
MAX_INPUT_SIZE = 1024
MAX_BYTES, MAX_NETWORK_BYTES = 4_000_000, 2**31  # of a manifest; of a network: what ONNX's own format ends at
LONGEST_MESSAGE = 1000
WEIGHTS = Path(__file__).with_name("weights")
DEFAULT_MODEL = "mobilenet_v1_075"
MIRROR = "+mirror"
#: what a network may say of a face; all say the age, which everything else is weighed by
TASKS = ("age", "gender", "expression")


class ManifestError(ValueError):
    """A manifest, or the network file that it names, is missing, unreadable or does not fit."""

    def __str__(self) -> str:
        text = super().__str__()  # may quote what was read, whatever its length
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


@dataclass(frozen=True, kw_only=True)
class Exit:
    """One exit. Dicts by input size hold multiply-adds, validation figures (mae, gender, expression, ...) and, per
    coverage in per cent, what the age distribution's deviation is multiplied with for half the interval.

    A mirrored exit, NAME+mirror, is the mean of what the exit NAME says of a face and of its mirror image, at twice the
    multiply-adds."""

    name: str
    block: int
    multiply_adds: Mapping[int, int]
    age_interval_scale: Mapping[int, Mapping[int, float]]
    validation: Mapping[int, Mapping[str, float]]

    @property
    def mirrored(self) -> bool:
        """Whether it reads the mirror image too."""
        return self.name.endswith(MIRROR)

    def interval_scale(self, size: int, coverage: int = 68) -> float:
        """Half the interval that holds this percentage of ages, in deviations of the age distribution."""
        return self.age_interval_scale[size][coverage]

    def output(self, head: str) -> str:
        """The name of a head's tensor in the network file; of a mirrored exit, of the tensor that it takes the mean of."""
        return f"{self.name.removesuffix(MIRROR)}.{head}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A network as the application sees it. The input is (n, s, s, 3) uint8 RGB; scaling happens inside the network.

    It has no `genders` or no `expressions` where it does not tell them."""

    name: str
    network: Path
    sha256: str
    input_name: str
    input_sizes: tuple[int, ...]
    template: tuple[tuple[float, float], ...]  # 47 landmarks in the unit square
    genders: tuple[str, ...]
    expressions: tuple[str, ...]
    exits: tuple[Exit, ...]  # shallowest first
    licence: str
    about: Mapping[str, Any]
    mirrored: tuple[Exit, ...] = ()  # shallowest first; each perhaps at some of the input sizes only

    def __post_init__(self) -> None:
        blocks = [e.block for e in self.exits]
        if not blocks or blocks != sorted(set(blocks)):
            raise ManifestError(
                f"{self.name}: exits must be given from the shallowest to the deepest, got blocks {blocks}"
            )
        if len({e.name for e in self.exits}) != len(self.exits):
            raise ManifestError(f"{self.name}: two exits have one name")
        if not self.input_sizes or not all(16 <= size <= MAX_INPUT_SIZE for size in self.input_sizes):
            raise ManifestError(f"{self.name}: input sizes must be from 16 to {MAX_INPUT_SIZE}, got {self.input_sizes}")
        if any(len(set(labels)) == 1 for labels in (self.genders, self.expressions)):
            raise ManifestError(f"{self.name}: gender and expression need two labels or more, or none at all")
        odd = [e.name for e in self.exits if e.mirrored or set(e.multiply_adds) != set(self.input_sizes)]
        if odd:
            raise ManifestError(
                f"{self.name}: costs of the exits must be given at {self.input_sizes} px, and mirrored ones apart; see {odd}"
            )
        for size in self.input_sizes:
            costs = [e.multiply_adds.get(size, 0) for e in self.exits]
            if costs != sorted(set(costs)) or costs[0] <= 0:
                raise ManifestError(f"{self.name}: costs of the exits must rise with depth, got {costs} at {size} px")
            twice = [e.multiply_adds[size] for e in self.mirrored if size in e.multiply_adds]
            if twice != sorted(set(twice)) or (twice and twice[0] <= 0):
                raise ManifestError(
                    f"{self.name}: costs of mirrored exits must rise with depth, got {twice} at {size} px"
                )
            self._check_figures(size)
        self._check_mirrored()
        if len(self.template) != 47 or not all(abs(v) <= 2 for point in self.template for v in point):
            raise ManifestError(f"{self.name}: the template needs 47 points in or near the unit square")

    def _check_figures(self, size: int) -> None:
        """All exits are ranked by the same figures, so each must have them."""
        for one in (*self.exits, *(e for e in self.mirrored if size in e.multiply_adds)):
            figures = one.validation.get(size, {})
            if not 0 < figures.get("mae", math.nan) < 100:
                raise ManifestError(f"{self.name}: {one.name} has no validation MAE at {size} px")
            lacking = [task for task in self.tasks[1:] if not 0 <= figures.get(task, math.nan) <= 1]
            if lacking:
                raise ManifestError(f"{self.name}: {one.name} lacks an accuracy for {lacking[0]} at {size} px")
            scales = [one.age_interval_scale.get(size, {}).get(coverage, math.nan) for coverage in COVERAGES]
            if not all(0 < scale < 100 for scale in scales) or scales != sorted(scales):
                raise ManifestError(
                    f"{self.name}: {one.name} needs interval scales that rise over {COVERAGES} per cent at {size} px, "
                    f"got {scales}"
                )

    def _check_mirrored(self) -> None:
        """Each belongs to an exit, and has a size that the network takes."""
        plain = {e.name: e.block for e in self.exits}
        blocks = [e.block for e in self.mirrored]
        if blocks != sorted(set(blocks)):
            raise ManifestError(
                f"{self.name}: mirrored exits must be given from the shallowest to the deepest, got {blocks}"
            )
        for one in self.mirrored:
            if not one.mirrored or plain.get(one.name.removesuffix(MIRROR)) != one.block:
                raise ManifestError(
                    f"{self.name}: mirrored exit {one.name} is of no exit; it should be called EXIT{MIRROR}"
                )
            if not one.multiply_adds or not set(one.multiply_adds) <= set(self.input_sizes):
                raise ManifestError(
                    f"{self.name}: {one.name} has sizes {list(one.multiply_adds)}, not of {self.input_sizes}"
                )

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it says of a face, in the order of TASKS."""
        told = {"age": True, "gender": bool(self.genders), "expression": bool(self.expressions)}
        return tuple(task for task in TASKS if told[task])

    @property
    def variants(self) -> tuple[Exit, ...]:
        """All that can be asked for: the exits, then the mirrored ones. `multiply_adds` of each tells at which sizes."""
        return (*self.exits, *self.mirrored)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads and checks a manifest; the network file must be there, its hash is checked by `verify`."""
        try:
            data = json.loads(_content(path, MAX_BYTES))
        except OSError as error:
            raise ManifestError(f"manifest {path} cannot be read: {error.strerror or error}") from error
        except ManifestError:
            raise
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"manifest {path} is not JSON: {error}") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else None
            raise ManifestError(f"manifest {path} has schema {found!r}; this version reads schema {SCHEMA}")
        try:
            manifest = _from_json(path, data)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ManifestError(f"manifest {path} is incomplete or wrong: {error}") from error
        except ManifestError:
            raise
        except ValueError as error:
            raise ManifestError(f"manifest {path}: {error}") from error
        try:
            there = manifest.network.is_file()
        except OSError:  # a name that no file can have
            there = False
        if not there:
            raise ManifestError(f"manifest {path} names {manifest.network.name}, which is not beside it")
        return manifest

    def verify(self) -> bytes:
        """The network file's content, after its hash was compared with the manifest's."""
        try:
            content = _content(self.network, MAX_NETWORK_BYTES)
        except OSError as error:
            raise ManifestError(f"network {self.network} cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ManifestError(
                f"network {self.network} is not the one that its manifest describes (sha256 differs): "
                "it was changed or cut short; fetch both files again"
            )
        return content

    def exit(self, name: str) -> Exit:
        """An exit by its name, or by its block number, which +mirror may follow."""
        for one in self.variants:
            if name in (one.name, f"{one.block}{MIRROR if one.mirrored else ''}"):
                return one
        raise ManifestError(f"{self.name} has no exit {name!r}; it has {', '.join(e.name for e in self.variants)}")


def _content(path: Path, most: int) -> bytes:
    """Refuses what is not a regular file, and what is too large to be read at all."""
    if path.exists() and not path.is_file():
        raise ManifestError(f"{path} is not a regular file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ManifestError(f"{path} is larger than {most} bytes")
    return content


def _from_json(path: Path, data: Mapping[str, Any]) -> Manifest:
    name = str(data["network"]["file"])
    if Path(name).name != name:
        raise ManifestError(f"manifest {path}: the network file must lie beside the manifest, got {name!r}")
    return Manifest(
        name=str(data["name"]),
        network=path.with_name(name),
        sha256=str(data["network"]["sha256"]),
        input_name=str(data["network"]["input"]),
        input_sizes=tuple(int(s) for s in data["input"]["sizes"]),
        template=tuple((float(x), float(y)) for x, y in data["template"]["points"]),
        genders=_labels(data["labels"].get("gender", [])),
        expressions=_labels(data["labels"].get("expression", [])),
        exits=tuple(map(_exit, data["exits"])),
        mirrored=tuple(map(_exit, data.get("mirrored", ()))),
        licence=str(data["licence"]),
        about=data["about"],
    )


def _exit(data: Mapping[str, Any]) -> Exit:
    return Exit(
        name=str(data["name"]),
        block=int(data["block"]),
        multiply_adds={int(s): int(n) for s, n in data["multiply_adds"].items()},
        age_interval_scale={
            int(s): {int(c): float(v) for c, v in scales.items()} for s, scales in data["age_interval_scale"].items()
        },
        validation={int(s): {k: float(v) for k, v in f.items()} for s, f in data["validation"].items()},
    )


def _labels(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"labels {values!r}: a list is needed")
    return tuple(map(str, values))


def find_manifest(model: str) -> Path:
    """The manifest that --model means: a name out of models/weights, or a path to a manifest or to the network beside it."""
    path = Path(model)
    if path.suffix == ".onnx":
        path = path.with_suffix(".json")
    try:
        for candidate in (WEIGHTS / f"{model}.json", path):
            if candidate.is_file():
                return candidate
    except (OSError, ValueError):  # too long a name, a zero byte
        pass
    known = ", ".join(sorted(p.stem for p in WEIGHTS.glob("*.json"))) or "none"
    raise ManifestError(
        f"no model {model!r}: neither a manifest at that path nor one of those shipped ({known}; see `main.py models`)"
    )
