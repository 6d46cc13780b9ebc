"""Results as JSON lines, CSV or Parquet, written only where the user asked for them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Protocol

from app.files import STDOUT, Stdout, TextFile

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Estimate, Person, Result

ESTIMATE_FIELDS = ("age", "age_low", "age_high", "gender", "gender_p", "expression", "expression_p", "exit")


def estimate_record(estimate: Estimate | None) -> dict[str, Any]:
    """The fields of an estimate in results and events; null where not known yet, too unsure, or not
    told by the network."""
    if estimate is None:
        return dict.fromkeys(ESTIMATE_FIELDS)
    values = ((name, getattr(estimate, name)) for name in ESTIMATE_FIELDS)
    record = {name: round(v, 4 if name.endswith("_p") else 2) if isinstance(v, float) else v for name, v in values}
    record["expression"] = estimate.expression or None
    return record if estimate.gender else record | {"gender": None, "gender_p": None}


def person_record(person: Person) -> dict[str, Any]:
    """One entry of "people" in a results line."""
    fresh = person.fresh and person.estimate is not None
    box = [round(v, 1) for v in person.box]
    return {"id": person.id, "box": box, **estimate_record(person.estimate), "fresh": fresh, "unfit": person.unfit}


class Writer(Protocol):
    """Takes results in order. `source` names the file that a result is of, where several files share one table."""

    def deliver(self, result: Result, source: str = "") -> None: ...

    def close(self) -> None: ...


class ResultsWriter:
    """One JSON line per frame; each line is on disk before the next begins."""

    def __init__(self, path: Path) -> None:
        self._file = Stdout() if str(path) == STDOUT else TextFile(path)

    def deliver(self, result: Result, source: str = "") -> None:
        record: dict[str, Any] = {"source": source} if source else {}
        if result.frame.camera:
            record["camera"] = result.frame.camera
        record |= {"frame": result.frame.id, "time_s": round(result.frame.time_s, 4)}
        if result.crowd:
            record["faces"] = result.stats.faces
        else:
            record["people"] = [person_record(p) for p in result.people]
        self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


def columns(*, counts_only: bool, named: str) -> list[str]:
    """A table has one row per person and frame, or with counts only one per frame. `named`: "source" or "camera" in a table of
    several."""
    people = ["id", "x", "y", "width", "height", *ESTIMATE_FIELDS, "fresh", "unfit"]
    return [*([named] if named else []), "frame", "time_s", *(["faces"] if counts_only else people)]


def rows(result: Result, source: str, *, counts_only: bool) -> list[list[Any]]:
    """Rows in the order of `columns`; what is not known yet is None."""
    name = source or result.frame.camera
    start = [*([name] if name else []), result.frame.id, round(result.frame.time_s, 4)]
    if counts_only:
        return [[*start, result.stats.faces]]
    records = map(person_record, result.people)
    return [[*start, r["id"], *r["box"], *(r[f] for f in ESTIMATE_FIELDS), r["fresh"], r["unfit"]] for r in records]


class CsvWriter:
    """One row per person and frame, none for a frame without people; what is not known yet is an empty cell. Counts only:
    one row per frame."""

    def __init__(self, path: Path, *, counts_only: bool = False, named: str = "") -> None:
        self._file, self._counts_only = TextFile(path), counts_only
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(columns(counts_only=counts_only, named=named))

    def deliver(self, result: Result, source: str = "") -> None:
        for row in rows(result, source, counts_only=self._counts_only):
            self._rows.writerow([str(v).lower() if isinstance(v, bool) else v for v in row])

    def close(self) -> None:
        self._file.close()
