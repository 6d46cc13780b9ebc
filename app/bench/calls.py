"""Each benchmark as `main.py bench NAME` calls it: flags in, exit code out. Nothing is imported that is not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import UsageError

if TYPE_CHECKING:
    import argparse


def cameras(args: argparse.Namespace) -> int:
    from app.bench.cameras import bench_cameras

    return bench_cameras(args.count, args.fps, args.seconds, args.dead, args.budget_ms, args.model, args.json)


def exits(args: argparse.Namespace) -> int:
    from app.bench.exits import bench_exits

    return bench_exits(args.rounds, args.model, args.device, args.json)


def crowd(args: argparse.Namespace) -> int:
    from app.bench.crowd import bench_crowd

    return bench_crowd(args.model, args.device, args.minutes, args.budgets, args.json, args.log, args.crowd)


def front_end(args: argparse.Namespace) -> int:
    from app.bench.front_end import bench_front_end
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_front_end(args.faces, args.frames, settings, args.clips, args.json)


def footage(args: argparse.Namespace) -> int:
    from app.bench.footage import Program, bench_footage

    beside = Program(args.beside.absolute(), args.beside_exit) if args.beside else None
    return bench_footage(args.clip, args.frames, args.rounds, args.looped, beside, args.json)


def following(args: argparse.Namespace) -> int:
    from app.bench.following import bench_following
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_following(args.utkface, args.count, args.clips, settings, args.json)


def recall(args: argparse.Namespace) -> int:
    from app.bench.recall import bench_recall
    from app.settings import Settings

    settings = Settings(model=args.model, detector=args.detector, min_face=args.min_face)
    return bench_recall(args.clips, args.truth, settings, args.json)


def tracking(args: argparse.Namespace) -> int:
    from app.bench.tracking import bench_tracking

    return bench_tracking(args.frames, args.model, args.json)


def estimates(args: argparse.Namespace) -> int:
    from app.bench.estimates import bench_estimates

    return bench_estimates(args.clips, args.utkface, args.list, args.count, args.model, args.json)


def alignment(args: argparse.Namespace) -> int:
    from app.bench.alignment import bench_alignment

    return bench_alignment(args.utkface, args.list, args.count, args.model, args.json)


def responsiveness(args: argparse.Namespace) -> int:
    from app.bench.responsiveness import bench_responsiveness

    return bench_responsiveness(args.faces, args.frames, args.model, args.json)


def idle(args: argparse.Namespace) -> int:
    from app.bench.idle import bench_idle

    return bench_idle(args.seconds, args.model, args.window, args.json)


def engines(args: argparse.Namespace) -> int:
    from app.bench.engines import bench_engines

    return bench_engines(args.model, args.rounds, args.cpu_time, args.utkface, args.list, args.count, args.json)


def truth(args: argparse.Namespace) -> int:
    from app.bench.truth import RULES, Plan, bench_truth
    from app.bench.truth_readings import Faces
    from app.reports.worlds import recorded_moments

    faces = None
    if args.utkface and args.fer2013:
        faces = Faces(
            utkface=args.utkface, fer2013=args.fer2013, count=args.count, names=args.list, votes=args.votes,
            without=args.without,
        )  # fmt: skip
    plan = Plan(
        people=tuple(_numbers(args.people, "--people", 1, 32)),
        budgets_ms=tuple(_milliseconds(args.budgets, "--budgets")),
        noises={path.stem: recorded_moments(path) for path in args.noise} or {"steady": []},
        seeds=args.seeds,
        seconds=args.seconds,
        rivals=RULES[args.rules],
    )
    if args.live:
        from app.bench.truth_live import bench_truth_live

        return bench_truth_live(faces, plan, args.json)
    return bench_truth(faces, args.readings, args.profile, plan, args.json)


def _milliseconds(text: str, name: str) -> list[float]:
    """Times with commas between. Raises UsageError."""
    try:
        given = [float(one) for one in text.split(",")]
    except ValueError:
        given = []
    if not given or not all(1 <= ms <= 10_000 for ms in given):
        raise UsageError(f"{name} takes milliseconds from 1 to 10000 with commas between, got {text[:80]!r}")
    return given


def _numbers(text: str, name: str, least: int, most: int) -> list[int]:
    """Whole numbers with commas between. Raises UsageError."""
    try:
        given = [int(one) for one in text.split(",")]
    except ValueError:
        given = []
    if not given or not all(least <= n <= most for n in given):
        raise UsageError(f"{name} takes whole numbers from {least} to {most} with commas between, got {text[:80]!r}")
    return given


def server(args: argparse.Namespace) -> int:
    from app.bench.server import Task, bench_server

    clients, faces = _numbers(args.clients, "--clients", 1, 64), _numbers(args.faces, "--faces", 1, 32)
    return bench_server(
        Task(clients=clients, faces=faces, seconds=args.seconds, server=args.server, slower=args.slower),
        args.model,
        args.json,
    )
