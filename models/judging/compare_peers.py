"""Others' networks beside one of ours on the very same spoilt pictures: those of `spoilt`, at middle strength.

Ours reads at its dearest point. A peer reads the same pictures by its own preprocessing, from a square around the face. Its
width is the best of several on the clean pictures of the larger width, which is to its advantage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from align.crop import crop_face
from align.geometry import to_pixels
from models.data.sets.base import DataError
from models.data.spoil import KINDS
from models.judging import metrics
from models.judging.evaluate import BATCH, HEADS, labels_of, sessions_of
from models.judging.peers import Answers
from models.judging.spoilt import WIDTHS_PX, as_spoilt, faces_at_widths, sampled
from models.judging.spoilt_report import CLEAN, LEVELS, MIDDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.judging.evaluate import Pictures
    from models.judging.peers import Reader
    from models.judging.spoilt import Face
    from models.manifest import Manifest


class Ours:
    """A network of ours at its dearest point, unmirrored: the last exit at the largest size."""

    scales = (1.0,)

    def __init__(self, manifest: Manifest) -> None:
        """Raises ManifestError."""
        self._size, self._exit, self._input = max(manifest.input_sizes), manifest.exits[-1], manifest.input_name
        self._session = sessions_of(manifest, [self._size])[self._size]
        self.name, self.about = manifest.name, f"ours, {self._exit.name} at {self._size} px, aligned by our landmarks"

    def read(
        self, pictures: Sequence[NDArray[np.uint8]], matrices: Sequence[NDArray[np.float64]], scale: float
    ) -> Answers:
        crops = [crop_face(p, to_pixels(m, self._size), self._size) for p, m in zip(pictures, matrices, strict=True)]
        outputs = self._session.run([self._exit.output(h) for h in HEADS], {self._input: np.stack(crops)})
        age, gender, expression = outputs
        return Answers(age=metrics.expectation(age), gender=gender, expression=expression)

    def close(self) -> None:
        pass


def compare_peers(
    manifest: Manifest,
    pictures: Pictures,
    peers: Sequence[Reader],
    *,
    sample: int | None = None,
    progress: Callable[..., Any] = iter,
) -> dict[str, Any]:
    """Per reader: what it is, the square it got, and its figures by width and kind, ready for JSON. Raises DataError and
    ManifestError."""
    samples, report = pictures.read()
    kept, by_width = faces_at_widths(manifest, pictures.dataset, sampled(samples, sample), report, progress)
    if not kept:
        raise DataError(f"none of the {len(samples)} pictures could be used")
    labels = labels_of(kept)
    readers = (Ours(manifest), *peers)
    first = WIDTHS_PX[0]
    shown = _shown(by_width[first], CLEAN, first)
    rows = []
    for reader in readers:
        tried = {scale: _figures(reader, shown, labels, scale) for scale in reader.scales}
        rows.append(_row(reader, tried))
    for width, kind in progress([(width, kind) for width in WIDTHS_PX for kind in (CLEAN, *KINDS)]):
        shown = _shown(by_width[width], kind, width)
        for reader, row in zip(readers, rows, strict=True):
            row["figures"][width][kind] = _figures(reader, shown, labels, row["scale"])
    return {
        "model": manifest.name,
        "sha256": manifest.sha256,
        "dataset": pictures.dataset,
        "pictures": len(kept),
        "strength": LEVELS[MIDDLE],
        "data": report.lines(),
        "readers": rows,
    }


def _row(reader: Reader, tried: dict[float, dict[str, float]]) -> dict[str, Any]:
    """What a reader is and its best square, before its figures. Raises DataError where it tells nothing that is labelled."""
    if not any("mae" in figures or "expression" in figures for figures in tried.values()):
        raise DataError(f"peer {reader.name} estimates nothing that these pictures are labelled with: leave it out")
    scale = min(tried, key=lambda s: tried[s].get("mae", -tried[s].get("expression", 0.0)))
    figures: dict[int, dict[str, Any]] = {width: {} for width in WIDTHS_PX}
    return {"name": reader.name, "about": reader.about, "scale": scale, "tried": tried, "figures": figures}


def _shown(faces: Sequence[Face], kind: str, width: int) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """What every reader gets: pictures, each with its matrix into the unit square."""
    return [(as_spoilt(face, kind, MIDDLE, width), face[1]) for face in faces]


def _figures(
    reader: Reader,
    shown: Sequence[tuple[NDArray[np.uint8], NDArray[np.float64]]],
    labels: dict[str, NDArray],
    scale: float,
) -> dict[str, float]:
    """As far as labels and reader allow: mae and bias in years, shares of right genders and expressions."""
    answers = []
    for start in range(0, len(shown), BATCH):
        images, matrices = zip(*shown[start : start + BATCH], strict=True)
        answers.append(reader.read(images, matrices, scale))
    age, gender, expression = (_joined([getattr(a, head) for a in answers]) for head in HEADS)
    out = {}
    known = labels["age"] >= 0
    if age is not None and known.any():
        off = (age - labels["age"])[known]
        out |= {"mae": float(np.abs(off).mean()), "bias": float(off.mean())}
    for name, p in (("gender", gender), ("expression", expression)):
        told = labels[name] >= 0
        if p is not None and told.any():
            out[name] = metrics.accuracy(p[told], labels[name][told])
    return out


def _joined(parts: list[Any]) -> NDArray[np.float64] | None:
    return None if parts[0] is None else np.concatenate(parts)


def table(report: dict[str, Any]) -> list[str]:
    """For people, as Markdown: a row for each reader and width, and what the readers are."""
    ages = "mae" in report["readers"][0]["figures"][WIDTHS_PX[0]][CLEAN]
    title = (
        f"{report['model']} ({report['sha256'][:8]}) and peers on {report['dataset']}, {report['pictures']} pictures, "
        f"all kinds at {report['strength']} strength"
    )
    if ages:
        head = "| network | face | age MAE clean | spoilt | times | worst kind | bias clean | gender clean | spoilt | worst |"
    else:
        head = "| network | face | expressions clean | spoilt | worst |"
    lines = [title, *report["data"], "", head, "|---" * (head.count("|") - 1) + "|"]
    for width in WIDTHS_PX:
        for row in report["readers"]:
            cells = _cells(row["figures"][width], ages)
            if cells:
                lines.append(f"| {row['name']} | {width} px | {' | '.join(cells)} |")
    lines.append("")
    for row in report["readers"]:
        square = f"; square {row['scale']:g} times our crop" if len(row["tried"]) > 1 else ""
        lines.append(f"- {row['name']}: {row['about']}{square}")
    return lines


def _cells(by_kind: dict[str, dict[str, float]], ages: bool) -> list[str]:
    clean, spoilt = by_kind[CLEAN], {kind: figures for kind, figures in by_kind.items() if kind != CLEAN}
    if not ages:
        return _shares(clean, spoilt, "expression")
    if "mae" not in clean:
        return []
    maes = {kind: figures["mae"] for kind, figures in spoilt.items()}
    mean, worst = float(np.mean(list(maes.values()))), max(maes, key=lambda kind: maes[kind])
    return [
        f"{clean['mae']:.2f}",
        f"{mean:.2f}",
        f"{mean / clean['mae']:.2f}" if clean["mae"] else "",
        f"{maes[worst]:.2f} ({worst})",
        f"{clean['bias']:+.1f}",
        *(_shares(clean, spoilt, "gender") or ["", "", ""]),
    ]


def _shares(clean: dict[str, float], spoilt: dict[str, dict[str, float]], head: str) -> list[str]:
    """Clean, mean and worst share of right answers, where there are any."""
    if head not in clean:
        return []
    shares = {kind: figures[head] for kind, figures in spoilt.items()}
    worst = min(shares, key=lambda kind: shares[kind])
    return [f"{clean[head]:.1%}", f"{np.mean(list(shares.values())):.1%}", f"{shares[worst]:.1%} ({worst})"]
