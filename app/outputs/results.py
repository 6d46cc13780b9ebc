"""Results as JSON lines or CSV, written only where the user asked for them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from app.files import TextFile

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Estimate, Person, Result

ESTIMATE_FIELDS = ("age", "age_low", "age_high", "gender", "gender_p", "expression", "expression_p", "exit")


def estimate_record(estimate: Estimate | None) -> dict[str, Any]:
    """The fields of an estimate in results and events; what is not known yet is null, and so is an unsure expression."""
    if estimate is None:
        return dict.fromkeys(ESTIMATE_FIELDS)
    values = ((name, getattr(estimate, name)) for name in ESTIMATE_FIELDS)
    record = {name: round(v, 4 if name.endswith("_p") else 2) if isinstance(v, float) else v for name, v in values}
    return record | {"expression": estimate.expression or None}


def person_record(person: Person) -> dict[str, Any]:
    """One entry of "people" in a results line."""
    fresh = person.fresh and person.estimate is not None
    box = [round(v, 1) for v in person.box]
    return {"id": person.id, "box": box, **estimate_record(person.estimate), "fresh": fresh, "unfit": person.unfit}


def results_writer(path: Path, *, counts_only: bool = False) -> ResultsWriter | CsvWriter:
    """CSV where the name ends so, else JSON lines. `counts_only`: the results will have a Crowd and no people."""
    return CsvWriter(path, counts_only=counts_only) if path.suffix.lower() == ".csv" else ResultsWriter(path)


class ResultsWriter:
    """One JSON line per frame; each line is on disk before the next begins."""

    def __init__(self, path: Path) -> None:
        self._file = TextFile(path)

    def deliver(self, result: Result) -> None:
        record: dict[str, Any] = {"frame": result.frame.id, "time_s": round(result.frame.time_s, 4)}
        if result.crowd:
            record["faces"] = result.stats.faces
        else:
            record["people"] = [person_record(p) for p in result.people]
        self._file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")

    def close(self) -> None:
        self._file.close()


class CsvWriter:
    """One row per person and frame, none for a frame without people; what is not known yet is an empty cell. Counts only:
    one row per frame."""

    def __init__(self, path: Path, *, counts_only: bool = False) -> None:
        self._file, self._counts_only = TextFile(path), counts_only
        self._rows = csv.writer(self._file, lineterminator="\n")
        columns = ["faces"] if counts_only else ["id", "x", "y", "width", "height", *ESTIMATE_FIELDS, "fresh", "unfit"]
        self._rows.writerow(["frame", "time_s", *columns])

    def deliver(self, result: Result) -> None:
        frame = [result.frame.id, round(result.frame.time_s, 4)]
        if self._counts_only:
            self._rows.writerow([*frame, result.stats.faces])
            return
        for person in result.people:
            record = person_record(person)
            estimate = [record[name] for name in ESTIMATE_FIELDS]
            self._rows.writerow(
                [*frame, record["id"], *record["box"], *estimate, str(record["fresh"]).lower(), record["unfit"]]
            )

    def close(self) -> None:
        self._file.close()
