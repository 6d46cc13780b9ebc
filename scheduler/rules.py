"""Rules by name: as logs and as people call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scheduler.before import ValueOfMovement, least_error_from_json
from scheduler.policy import DeepestThatFits, Fixed, Policy, ValuePerPerson
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Mapping


def policy_from_json(data: Mapping[str, Any]) -> Policy:
    """The rule that a log's first record names. Raises ValueError for one that this version does not know."""
    numbers: dict[str, Any] = {k: v for k, v in data.items() if k != "name"}
    match data.get("name"):
        case "fixed":
            return Fixed(OperatingPoint.from_json(data))
        case "deepest-that-fits":
            return DeepestThatFits(**numbers)
        case "value-per-person":
            return (ValueOfMovement if "moving" in numbers else ValuePerPerson)(**numbers)
        case "least-error":
            return least_error_from_json(data)
        case name:
            raise ValueError(f"unknown policy {name!r}; known: value-per-person, deepest-that-fits, least-error, fixed")


def policy_from_text(text: str, latency_points: tuple[OperatingPoint, ...]) -> Policy:
    """A rule as people name it: `auto`, or an exit's name or block number (at its largest size or NAME@SIZE, by ONNX
    Runtime or ENGINE/NAME)."""
    if text in ("auto", "value-per-person"):
        return ValuePerPerson()
    if text == "deepest-that-fits":
        return DeepestThatFits()
    engine, _, name = text.rpartition("/")
    exit_name, _, size = name.partition("@")
    fits = [
        p
        for p in latency_points
        if exit_name in (p.exit, p.exit.rpartition("_")[2].lstrip("0"))
        and (not size or size == str(p.size))
        and engine == p.engine
    ]
    if not fits:
        known = ", ".join(map(str, latency_points))
        raise ValueError(f"unknown policy {text!r}; known: auto, deepest-that-fits, {known}")
    return Fixed(max(fits, key=lambda p: p.size))
