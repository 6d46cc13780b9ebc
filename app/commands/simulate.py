"""`simulate`: what a machine would do with a crowd, under our rule and every other, without a camera."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse

    from scheduler.profile import Profile
    from scheduler.simulate import Outcome
    from scheduler.world import World


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "simulate",
        run,
        "Try scheduling rules on made crowds, without a camera. Needs only a machine's latency profile.",
        "simulate --profile profile.json --crowd const:20 --budget-ms 33",
    )
    p.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="a profile, or a log (.jsonl) or the --json of `bench crowd` that holds one; default: this machine's",
    )
    p.add_argument(
        "--crowd",
        default="step",
        help="step, ramp, burst, clips (recorded), demo, const:N, or the crowd of a log: LOG.jsonl, or LOG.jsonl:N scaled to N people; default step",
    )
    p.add_argument("--budget-ms", type=float, default=33.0, metavar="MS", help="time a frame may take; default 33")
    p.add_argument("--frames", type=int, default=3000, metavar="N", help="default 3000")
    p.add_argument("--fps", type=float, default=30.0, help="frames per second that the camera gives; default 30")
    p.add_argument(
        "--policy",
        default="auto",
        help="auto, deepest-that-fits, an exit (exit_09@96), or all: every rival in a table; default auto",
    )
    p.add_argument(
        "--noise",
        type=Path,
        metavar="LOG.jsonl",
        help="take the machine's ups and downs from this log, or --json of `bench crowd`; default: none",
    )
    p.add_argument(
        "--front-ms",
        type=float,
        default=0.0,
        metavar="MS",
        help="milliseconds a frame that the front end takes; default 0",
    )
    p.add_argument("--front-ms-per-face", type=float, default=0.0, metavar="MS", help="milliseconds a face; default 0")
    p.add_argument(
        "--memory-s",
        type=float,
        default=3.0,
        metavar="S",
        help="seconds after which an answer on screen is worth 1/e; default 3",
    )
    p.add_argument(
        "--batches-apart",
        action="store_true",
        help="draw the noise anew for each further batch of a frame",
    )
    _add_site(p)
    p.add_argument("--seed", type=int, default=1, help="seed of the random draws; default 1")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the table as JSON")


def _add_site(p: argparse.ArgumentParser) -> None:
    site = p.add_argument_group("many kiosks before one server")
    site.add_argument(
        "--kiosks", type=int, metavar="N", help="simulate N kiosks, each with the crowd; --profile is a kiosk's"
    )
    site.add_argument("--server-profile", type=Path, metavar="FILE", help="what `calibrate --out` wrote at the server")
    site.add_argument(
        "--round-trips",
        type=Path,
        metavar="FILE",
        help="the network's round trips: milliseconds, one a line, or what `ping` printed; default half a millisecond",
    )
    site.add_argument(
        "--workers", type=int, default=1, metavar="N", help="batches that the server reads at once; default 1"
    )
    site.add_argument("--seconds", type=float, default=10.0, metavar="S", help="default 10")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for what makes no sense."""
    if args.kiosks is not None:
        return _site(args)
    from app.reports.outcomes import outcome_table
    from app.reports.worlds import Camera, Recording, known_profile, simulated_world
    from scheduler.world import FrontEnd

    camera = Camera(crowd=args.crowd, frames=args.frames, fps=args.fps)
    noise = Recording(path=args.noise, apart=args.batches_apart, seed=args.seed)
    if not 1 <= args.budget_ms <= 10_000:
        raise UsageError(f"--budget-ms must be from 1 to 10000, got {args.budget_ms:g}")
    if not 0.01 <= args.memory_s <= 1e6:
        raise UsageError(f"--memory-s must be from 0.01 to 1000000, got {args.memory_s:g}")
    if not (0 <= args.front_ms < 1e5 and 0 <= args.front_ms_per_face < 1e5):
        raise UsageError("--front-ms and --front-ms-per-face must be from 0 to 100000")
    if args.json:
        check_writable(args.json)
    profile, about = known_profile(args.profile)
    front_end = FrontEnd(ms=args.front_ms, ms_per_face=args.front_ms_per_face)
    world = simulated_world(camera, profile, args.budget_ms, front_end, noise)
    print(
        f"{about}; crowd {camera.crowd}, {len(world.faces)} frames at {camera.fps:g} fps, up to {max(world.faces)} faces; "
        f"budget {args.budget_ms:g} ms, of which the front end takes {front_end.ms:g}"
        + (f" + {front_end.ms_per_face:g} a face" if front_end.ms_per_face else "")
        + f"; {noise}"
    )
    started = time.perf_counter()
    outcomes = _outcomes(world, profile, args.policy, args.memory_s)
    took = time.perf_counter() - started
    for line in outcome_table(outcomes):
        print(line)
    if args.policy != "all":
        points = outcomes[0].points.items()
        print(f"points    {', '.join(f'{p} {n / args.frames:.0%}' for p, n in points) or 'none was run'}")
        print(f"speed     {args.frames / took * 60 / 1e6:.2f} million frames a minute")
    if args.json:
        figures = {name: getattr(args, name) for name in ("crowd", "budget_ms", "fps", "memory_s", "seed")}
        everything = {**figures, "profile": profile.to_json(), "runs": [o.to_json() for o in outcomes]}
        args.json.write_text(json.dumps(everything, indent=1) + "\n")
    return 0


def _site(args: argparse.Namespace) -> int:
    from app.reports.sites import Plan, simulate_site

    plan = Plan(
        kiosks=args.kiosks,
        server=args.server_profile,
        round_trips=args.round_trips,
        workers=args.workers,
        seconds=args.seconds,
    )
    if not (1 <= args.budget_ms <= 10_000 and 1 <= args.fps <= 1000):
        raise UsageError("--budget-ms must be from 1 to 10000, and --fps from 1 to 1000")
    if args.json:
        check_writable(args.json)
    figures = simulate_site(plan, args.profile, args.crowd, args.budget_ms, args.fps, args.seed)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def _outcomes(world: World, profile: Profile, policy: str, memory_s: float) -> list[Outcome]:
    """The outcomes of every rival, or of one rule."""
    from scheduler.latency import LatencyModel
    from scheduler.rivals import compete, ours
    from scheduler.rules import policy_from_text
    from scheduler.simulate import simulate

    if policy == "all":
        return list(compete(world, profile, memory_s=memory_s))
    try:
        rule = ours(world) if policy == "auto" else policy_from_text(policy, tuple(p.point for p in profile.points))
    except ValueError as error:
        raise UsageError(f"--policy: {error}, all") from error
    return [simulate(world, rule, LatencyModel(profile), policy, memory_s)]
