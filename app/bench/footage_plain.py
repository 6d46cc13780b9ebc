"""A file read one step after the other, on one thread: what `bench footage` compares the loops of a run with.

`python -m app.bench.footage_plain FILE RESULTS`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.compose import build
from app.reports.summary import summary
from app.settings import Settings

if TYPE_CHECKING:
    from app.compose import App


def read_plainly(file: str, results: Path) -> None:
    """Writes results and prints a summary, both as `run` does. Looks are taken where they are asked for."""
    started_s = time.monotonic()
    app = build(Settings(source=file, show=False, results=results))
    one_after_the_other(app)
    for line in summary(app.pipeline.totals, started_s, app.pipeline.controls.budget_ms):
        print(line)


def one_after_the_other(app: App) -> None:
    """What the pipeline's loops do, without them; closes the run."""
    pipeline = app.pipeline
    try:
        (camera,) = pipeline.cameras
        for frame in app.source:
            pipeline.serve([(camera, camera.front_end(camera.stamped(frame)))])
    finally:
        pipeline.close()


if __name__ == "__main__":
    read_plainly(sys.argv[1], Path(sys.argv[2]))
