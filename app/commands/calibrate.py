"""`calibrate`: how long every operating point takes here, remembered for `run` and written as a portable file."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command
from app.errors import DeviceError, UsageError
from app.files import check_writable
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from models.manifest import Manifest
    from scheduler.profile import Profile


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "calibrate",
        run,
        "Measure every operating point's time on this machine. `run` remembers the times; `--out` writes them to a file.",
        "calibrate --out profile.json",
    )
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--device", default="auto", help="as with `run`; default auto")
    p.add_argument(
        "--threads", type=int, metavar="N", help="threads for the network; default one less than there are cores"
    )
    p.add_argument("--server", metavar="URL", help="measure a server's round trips, too, as with `run`")
    p.add_argument("--out", type=Path, metavar="PROFILE.json", help="write the profile, for `run` and `simulate`")


def run(args: argparse.Namespace) -> int:
    """Sweeps the operating points near the front and prints them. Raises AppError."""
    if args.threads is not None and not 1 <= args.threads <= 256:
        raise UsageError(f"--threads must be from 1 to 256, got {args.threads}")
    if args.out:
        check_writable(args.out)
    from tqdm import tqdm

    from app.compose import load_manifest, load_profile
    from app.network.calibrate import candidates, warm_times
    from app.network.engine import Unanswered, default_threads
    from app.network.mending import STEADY_TAIL
    from app.network.open import load_all, open_engine
    from app.network.profiles import made_here, write_profile

    manifest = load_manifest(args.model)
    points = candidates(manifest)
    every = sum(len(e.multiply_adds) for e in manifest.variants)
    started = time.perf_counter()
    with tqdm(total=1, desc="loading", leave=False, file=sys.stderr) as bar:
        engine = open_engine(manifest, args.device, args.threads, points=points, server=args.server)
        load_all(engine, partial(_show, bar))
    threads = args.threads or default_threads()
    print(
        f"{manifest.name} on {engine.provider}, {threads} threads: {len(points)} of {every} operating points may be worth it, "
        f"loaded in {time.perf_counter() - started:.1f} s"
    )
    started = time.perf_counter()
    with tqdm(total=1, desc="measuring", leave=False, file=sys.stderr) as bar:
        try:
            profile, _ = load_profile(engine, manifest, threads, True, partial(_show, bar))
        except Unanswered as error:
            raise DeviceError(f"the server cannot be measured: {error}") from error
    busy = profile.tail > STEADY_TAIL
    print(
        f"measured in {time.perf_counter() - started:.1f} s; 95 of 100 runs took up to {profile.tail:.2f} times the median"
        + (
            ": the machine is busy, so `run` will measure again when nobody is in view"
            if busy
            else "; remembered for `run`"
        )
    )
    for line in table(profile, manifest):
        print(line)
    cheap, dear = warm_times(engine, (profile.front[0], profile.front[-1]))
    spans = ", ".join(f"{dear[b] / cheap[b]:.1f}" for b in engine.buckets)
    print(f"the same with everything at hand, one run after another: {spans} times at {_list(engine.buckets)} faces")
    if args.out:
        write_profile(args.out, made_here(profile, engine, manifest, threads))
        print(f"{args.out} written: `main.py run --profile {args.out}`, `main.py simulate --profile {args.out}`")
    return 0


def _show(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def table(profile: Profile, manifest: Manifest) -> list[str]:
    """The front, cheapest first, and what it spans."""
    width = max(18, *(len(str(p)) + 1 for p in profile.front))
    lines = [
        f"{'operating point':<{width}}{'M madds':>9}{'age MAE':>9}{'error':>8}"
        + "".join(f"{f'{b} faces':>11}" for b in profile.buckets)
    ]
    for point in profile.front:
        cost = manifest.exit(point.exit).multiply_adds[point.size] / 1e6
        times = "".join(f"{profile.median_ms(point, b):>8.2f} ms" for b in profile.buckets)
        lines.append(f"{point!s:<{width}}{cost:>9.1f}{profile.mae(point):>9.2f}{profile.error(point):>8.3f}{times}")
    cheap, dear = profile.front[0], profile.front[-1]
    spans = ", ".join(f"{profile.median_ms(dear, b) / profile.median_ms(cheap, b):.1f}" for b in profile.buckets)
    dropped = len(profile.points) - len(profile.front)
    over_all = profile.cost(dear) / profile.cost(cheap)
    return [
        *lines,
        f"front of {len(profile.front)}, {dropped} dominated; dearest to cheapest: {spans} times at "
        f"{_list(profile.buckets)} faces, {over_all:.1f} over all (what points are ranked by)",
    ]


def _list(buckets: Sequence[int]) -> str:
    return f"{', '.join(map(str, buckets[:-1]))} and {buckets[-1]}"
