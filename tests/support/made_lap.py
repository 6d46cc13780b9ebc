"""UTKFace's pictures in the layouts of WIKI and of ChaLearn LAP 2016, to try the paper's study where those two cannot be had:
`python -m tests.support.made_lap UTKFACE OUT`. Every label is UTKFace's age; that guesses deviate by 5 years is made up."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from tests.support.datasets import datenum, wiki_row, write_appa_real, write_imdb_wiki

COUNTS = {"wiki": 120, "train": 80, "valid": 40, "test": 40}
DEVIATION_YEARS = 5.0


def write(utkface: Path, out: Path) -> None:
    """OUT/wiki_crop and OUT/lap, with links to the pictures, which are chosen by a hash of their names; ages from 1 to 90."""
    known = [p for p in utkface.iterdir() if p.name.split("_")[0].isdigit() and 1 <= int(p.name.split("_")[0]) <= 90]
    pictures = iter(sorted(known, key=lambda p: hashlib.sha256(p.name.encode()).digest()))
    rows, guesses = [], {}
    for i in range(COUNTS["wiki"]):
        picture = next(pictures)
        age, gender, *_ = picture.name.split("_")
        rows.append(wiki_row(i, dob=datenum(2000 - int(age), 1, 1), gender=1.0 - int(gender), full_path=f"{i:03d}.jpg"))
        _link(out / "wiki_crop" / f"{i:03d}.jpg", picture)
    for split in ("train", "valid", "test"):
        guesses[split] = []
        for i in range(COUNTS[split]):
            picture = next(pictures)
            age = picture.name.split("_")[0]
            guesses[split].append((f"{i:03d}.jpg", 38, float(age), DEVIATION_YEARS, age))
            _link(out / "lap" / split / f"{i:03d}.jpg_face.jpg", picture)
    write_imdb_wiki(out / "wiki_crop", "wiki", rows)
    write_appa_real(out / "lap", guesses)


def _link(path: Path, picture: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(picture.resolve())


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:]))
