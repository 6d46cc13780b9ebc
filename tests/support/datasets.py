"""Data sets as their makers publish them, with the astronaut's face in every picture."""

from __future__ import annotations

import csv
import math
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from tests.support.faces import portrait


def picture(path: Path, seed: int = 0, side: int = 160) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), portrait(side, seed))
    return path


def datenum(year: int, month: int, day: int) -> float:
    return date(year, month, day).toordinal() + 366.0


def write_imdb_wiki(root: Path, name: str, rows: list[dict], **more: object) -> Path:
    """NAME.mat as it is published: one struct of 1xN arrays, strings and boxes in cells."""

    def cells(values: list) -> np.ndarray:
        out = np.empty((1, len(values)), object)
        for i, value in enumerate(values):
            out[0, i] = value
        return out

    def numbers(key: str, kind: type = float) -> np.ndarray:
        return np.array([[row[key] for row in rows]], kind)

    struct = {
        "dob": numbers("dob"),
        "photo_taken": numbers("photo_taken", np.uint16),
        "full_path": cells([row["full_path"] for row in rows]),
        "gender": numbers("gender"),
        "name": cells([row["name"] for row in rows]),
        "face_location": cells([np.array([row["face_location"]], float) for row in rows]),
        "face_score": numbers("face_score"),
        "second_face_score": numbers("second_face_score"),
        **more,
    }
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / f"{name}.mat", {name: struct})
    return root


def wiki_row(i: int, **changed: object) -> dict:
    row = {
        "dob": datenum(1970, 7, 1), "photo_taken": 2000, "full_path": f"{i:02d}/{i}_1970-07-01_2000.jpg", "gender": 1.0,
        "name": f"Person {i}", "face_location": [31.0, 21.0, 131.0, 121.0], "face_score": 3.2, "second_face_score": math.nan,
    }  # fmt: skip
    return row | changed


def write_appa_real(root: Path, rows: dict[str, list[tuple]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, lines in rows.items():
        with (root / f"gt_avg_{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "num_ratings", "apparent_age_avg", "apparent_age_std", "real_age"])
            writer.writerows(lines)
    return root
