"""`evaluate`: figures of a network file over a labelled data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command, translated
from app.errors import ModelError, UsageError
from app.files import check_writable
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from models.judging.evaluate import Pictures
    from models.manifest import Manifest

PEERS = ("ssr-net", "dlib", "face-api", "face-api-expressions")


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "evaluate",
        run,
        "Measure every exit of a network on a labelled data set.",
        "evaluate --dataset utkface --root UTKFace --list validation.txt --json figures.json",
    )
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"a shipped network's name, or the path of a manifest; default {DEFAULT_MODEL}",
    )
    p.add_argument(
        "--dataset",
        required=True,
        choices=("utkface", "fer2013", "ferplus", "appa_real", "csv"),
        help="utkface: age and gender; fer2013: expression; ferplus: the same by the votes of ten annotators; appa_real: "
        "apparent age, with the epsilon error; csv: your own, what the table has",
    )
    p.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="DIR",
        help="the data set's folder; for fer2013 and ferplus the one with train/ and validation/; for csv the table",
    )
    p.add_argument(
        "--split",
        default="validation",
        help="fer2013, ferplus: which folder under --root; appa_real: train, validation or test; default validation",
    )
    p.add_argument("--list", type=Path, metavar="NAMES.txt", help="utkface: only these pictures, a file name a line")
    _add_ferplus_and_spoilt(p)
    how = p.add_mutually_exclusive_group()
    how.add_argument(
        "--align", action="store_true", help="find face and landmarks in each picture, as in training (default)"
    )
    how.add_argument(
        "--aligned",
        action="store_true",
        help="pictures are chips that the data set's makers aligned: one fixed crop, no detector",
    )
    p.add_argument("--size", type=int, metavar="PX", help="input size; default: all that the network serves")
    p.add_argument("--plot", type=Path, metavar="OUT.png", help="error against multiply-adds, a line per input size")
    p.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="JSON", help="earlier reports to draw in the same plot"
    )
    p.add_argument(
        "--landmarks",
        default="ours",
        choices=("ours", "teacher", "both"),
        help="teacher: dlib's 68-point model instead of our own; both: what our own changes, picture by picture; default ours",
    )
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write all figures as JSON")


def _add_ferplus_and_spoilt(p: argparse.ArgumentParser) -> None:
    p.add_argument("--votes", type=Path, metavar="CSV", help="ferplus: the table of votes")
    p.add_argument(
        "--without",
        type=Path,
        metavar="NAMES.txt",
        help="leave these pictures out, a path ending in SPLIT/LABEL/NAME a line: those with a near twin in training",
    )
    p.add_argument(
        "--spoilt",
        action="store_true",
        help="judge faces of 60 and 30 px, spoilt as cameras do in 17 ways at three strengths",
    )
    p.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="with --spoilt: only N pictures; 1,000 take about 20 minutes on two cores",
    )
    p.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        metavar="NAME",
        help=f"with --spoilt: a table of others' networks ({', '.join(PEERS)}) beside ours, on the same pictures at middle strength",
    )
    p.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="where the peers' packages are; docs/results/peers.md installs them",
    )


def run(args: argparse.Namespace) -> int:
    if args.list and args.dataset != "utkface":
        raise UsageError("--list goes with --dataset utkface")
    if bool(args.votes) != (args.dataset == "ferplus"):
        raise UsageError("--dataset ferplus and --votes CSV go together")
    if args.sample is not None and (not args.spoilt or args.sample < 1):
        raise UsageError("--sample goes with --spoilt and is at least 1")
    if args.spoilt and (args.aligned or args.size or args.beside or args.landmarks != "ours"):
        raise UsageError(
            "--spoilt aligns, by our landmarks, at every size: leave out --aligned, --size, --beside, --landmarks"
        )
    if bool(args.peers) != bool(args.packages) or (args.peers and (not args.spoilt or args.plot)):
        raise UsageError("--peers and --packages go together, with --spoilt and without --plot")
    if args.aligned and args.landmarks != "ours":
        raise UsageError("--aligned uses no landmarks: leave out --landmarks")
    if args.plot and args.landmarks == "both":
        raise UsageError("--plot draws one predictor's figures: leave out --landmarks both")
    for path in filter(None, (args.json, args.plot)):
        check_writable(path)
    others = [_read_report(path) for path in args.beside]
    report, table = _judge(args)
    report["split"] = (
        args.list.name if args.list else "every picture" if args.dataset in ("utkface", "csv") else args.split
    )
    for line in table(report):
        print(line)
    text = json.dumps(report, indent=1)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    if args.plot:
        from models.judging import figures, spoilt_report

        drawn = json.loads(text)
        if args.spoilt:
            spoilt_report.draw(drawn, args.plot)
        else:
            figures.draw([*others, drawn], args.plot)
    return 0


def _judge(args: argparse.Namespace) -> tuple[dict[str, Any], Callable[[dict[str, Any]], list[str]]]:
    """The report, and what makes a table of it."""
    from tqdm import tqdm

    with translated():
        from align.landmarks import LandmarkModelError
        from models.judging import compare_landmarks, compare_peers, figures, spoilt_report
        from models.judging.evaluate import Pictures, evaluate
        from models.judging.spoilt import evaluate_spoilt
        from models.manifest import Manifest, find_manifest

        manifest = Manifest.read(find_manifest(args.model))
        which = {"split": args.split, "names": _names(args.list), "votes": args.votes, "without": args.without}
        pictures = Pictures(dataset=args.dataset, root=args.root, **which)
        options = {"align": not args.aligned, "size": args.size, "progress": tqdm}
        try:
            if args.peers:
                return _beside_peers(args, manifest, pictures), compare_peers.table
            if args.spoilt:
                report = evaluate_spoilt(manifest, pictures, sample=args.sample, progress=tqdm)
                return report, spoilt_report.table
            if args.landmarks == "both":
                report = compare_landmarks.compare_landmarks(manifest, pictures, **options)
                return report, compare_landmarks.comparison_table
            report = evaluate(manifest, pictures, teacher=args.landmarks == "teacher", **options)
            return report, figures.table
        except LandmarkModelError as error:
            raise ModelError(str(error)) from error


def _beside_peers(args: argparse.Namespace, manifest: Manifest, pictures: Pictures) -> dict[str, Any]:
    """The report of `compare_peers`; the peers are closed whatever happens. Raises DataError and ManifestError."""
    from contextlib import ExitStack, closing

    from tqdm import tqdm

    from models.judging.compare_peers import compare_peers
    from models.judging.peers import open_peer

    with ExitStack() as opened:
        peers = [opened.enter_context(closing(open_peer(name, args.packages))) for name in args.peers]
        return compare_peers(manifest, pictures, peers, sample=args.sample, progress=tqdm)


def _names(path: Path | None) -> list[str] | None:
    """The pictures of `--list`."""
    try:
        return path.read_text(encoding="utf-8").splitlines() if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--list {path} cannot be read as a list of file names: {error}") from error


def _read_report(path: Path) -> dict[str, Any]:
    """What an earlier `evaluate --json` wrote."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for exits in report["figures"].values() for row in exits.values()]
        report["model"], report["multiply_adds"].items(), rows[0].items()
    except (OSError, UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"--beside {path} is not a report of `evaluate --json`: {error}") from error
    return report
