"""`train-follower`: trains the network that follows faces, with dlib's 68-point model as teacher."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command, training_errors
from app.errors import ModelError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

FER2013_EVERY = 5  # pictures of FER2013 are small and many: every fifth is enough
SHARES = 0.75, 0.25  # of UTKFace and FER2013 among the faces of a batch


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "train-follower",
        run,
        "Train the network that follows faces. dlib's 68-point model is the teacher. `bench following` measures it.",
        "train-follower --utkface UTKFace --fer2013 fer2013 --out runs/follower",
    )
    p.add_argument("--utkface", type=Path, required=True, metavar="DIR", help="folder of UTKFace's pictures")
    p.add_argument("--fer2013", type=Path, metavar="DIR", help="folder with train/; default: UTKFace only")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="the training's folder (0.8 GB); one that was stopped goes on where it was",
    )
    p.add_argument("--steps", type=int, metavar="N", help="batches; default: the shipped network's recipe")
    p.add_argument("--pictures", type=int, metavar="N", help="only N pictures of each set; default: all")
    p.add_argument("--threads", type=int, default=1, metavar="N", help="PyTorch's threads; default 1")


def run(args: argparse.Namespace) -> int:
    if min(args.threads, args.steps or 1, args.pictures or 1) < 1:
        raise UsageError("--threads, --steps and --pictures must be at least 1")
    with training_errors():
        from models.data.taught import load
        from models.training.follower import Recipe, train

        taught = _taught(args.utkface, args.fer2013, args.out, args.pictures)
        recipe = Recipe(cycles=((args.steps, 2e-3),)) if args.steps else Recipe()
        sets = [load(path) for path in taught.values()]
        about = {"data": {name: len(one) for name, one in zip(taught, sets, strict=True)}, "teacher": "dlib, 68 points"}
        manifest = train(sets, SHARES[: len(sets)], args.out, recipe, threads=args.threads, about=about)
    print(f"wrote {manifest} and what it names; copy these files to align/weights/ to use them")
    return 0


def _taught(utkface: Path, fer2013: Path | None, out: Path, pictures: int | None) -> dict[str, Path]:
    """The teacher's landmarks on the pictures that are not held out, a file a set."""
    from tqdm import tqdm

    from align.landmarks import LandmarkModelError
    from models.data import views
    from models.data.sets import fer2013 as fer2013_set
    from models.data.sets import utkface as utkface_set
    from models.data.taught import teach

    out.mkdir(parents=True, exist_ok=True)
    sets: dict[str, tuple[Any, int, Callable[[list[Path]], list[Path]]]] = {
        "utkface": (utkface_set.read(utkface), 200, lambda paths: sorted(paths, key=_shuffled))
    }
    if fer2013:
        sets["fer2013"] = (fer2013_set.read(fer2013), 48, lambda paths: paths[::FER2013_EVERY])
    files = {}
    for name, (dataset, side, chosen) in sets.items():
        held_out = views.held_out_of(dataset, progress=tqdm)
        paths = [s.path for s, held in zip(dataset.samples, held_out, strict=True) if not held]
        files[name] = out / f"{name}.npz"
        try:
            kept, left_out = teach(chosen(paths)[:pictures], side, dataset.placing, files[name], tqdm)
        except LandmarkModelError as error:
            raise ModelError(str(error)) from error
        print(f"{name}: {kept} pictures, {left_out} left out because the teacher is unsure of them")
    return files


def _shuffled(path: Path) -> str:
    """A sort key: in its order the first N pictures are a fair sample."""
    return hashlib.sha256(path.name.encode()).hexdigest()
