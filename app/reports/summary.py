"""What a run says of itself: what was chosen when it starts, and its figures at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.domain import SourceEventKind
from scheduler.profile import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.camera import Camera
    from app.compose import App
    from app.domain import SourceEvent
    from app.totals import Totals
    from scheduler.profile import Profile


def tell(app: App) -> None:
    """What was chosen, so that nobody has to guess."""
    settings, network, engine = app.settings, app.network, app.network.engine
    print(f"source    {app.source.name}" + (f" ({app.source.note})" if getattr(app.source, "note", "") else ""))
    if app.missing:
        print(f"faces     {app.missing}")
    print(f"network   {network.manifest.name} on {engine.provider}" + (f"; {engine.note}" if engine.note else ""))
    if settings.server:
        print(f"server    {settings.server}: crops of faces leave this machine" + _plainly(settings.server))
    if network.profile_from:
        print(f"latency   {network.profile_from}: " + _span(network.profile))
    if app.source.live:
        print(f"budget    {settings.frame_budget_ms:.1f} ms a frame, exit {settings.exit}")
    else:
        print(f"budget    none: in a file everybody found is read in every frame, at {network.profile.points[0].point}")
        if settings.budget_ms or settings.target_fps:
            print("note      --budget-ms and --target-fps apply only to cameras, streams and files with --realtime")
    if settings.privacy != "none":
        print(f"privacy   {settings.privacy}, in everything that is shown and written")
    for name, path in settings.written.items():
        print(f"{name:<9} {path}")
    for sender in app.senders:
        print(f"{sender.name:<9} {sender.address}, counts of people and nothing about one of them")
    if app.metrics:
        print(f"metrics   http://{app.metrics.address}/metrics")


def _plainly(server: str) -> str:
    return ", encrypted" if server.startswith("grpcs:") else ", unencrypted: on a network of your own, or with grpcs://"


def source_text(event: SourceEvent) -> str:
    """A change of the source, told once."""
    if event.kind is SourceEventKind.LOST:
        return f"source lost: {event.text} It is tried again until it is back or the run ends."
    return f"source back: {event.text} after {event.after_s:.1f} s and {event.tries} tries"


def _span(profile: Profile) -> str:
    cheap, dear = profile.front[0], profile.front[-1]
    first = f"one face {profile.median_ms(cheap, 1):.1f} ms at {cheap}"
    return first if cheap == dear else f"{first}, {profile.median_ms(dear, 1):.1f} ms at {dear}"


def camera_lines(cameras: Sequence[Camera]) -> Iterator[str]:
    """One for each of several cameras."""
    for one in cameras if len(cameras) > 1 else ():
        totals = one.totals
        figures = f"{totals.frames} frames, {totals.read} of {totals.faces} faces read, {totals.misses} missed"
        age = f", frame age p99 {quantile(totals.ages_ms, 0.99):.1f} ms" if totals.frames else ""
        yield f"camera    {one.name}: {figures}{age}" + (f"; given up: {one.failure}" if one.failure else "")


def summary(totals: Totals, started_s: float, budget_ms: float) -> list[str]:
    """The run in figures, for people; `budget_ms` is the last one, if it was changed on the way."""
    if not totals.frames or totals.first_result_s is None or totals.last_result_s is None:
        return ["no frame was processed"]
    span = totals.last_result_s - totals.first_result_s
    rate = f"{(totals.frames - 1) / span:.1f} fps" if span > 0 else "one frame"
    p50, p95, p99 = (quantile(totals.ages_ms, q) for q in (0.5, 0.95, 0.99))
    lines = [
        f"frames    {totals.frames}, {rate}; first result {totals.first_result_s - started_s:.2f} s after the start",
        f"faces     {totals.faces} in all frames, {totals.read} read",
        f"frame age p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms",
        f"misses    {totals.misses} ({totals.misses / totals.frames:.1%}) of {budget_ms:.1f} ms"
        if math.isfinite(budget_ms)
        else "deadline  none",
        "exits     "
        + (
            ", ".join(f"{name} {n / sum(totals.exits.values()):.0%}" for name, n in sorted(totals.exits.items()))
            or "none was run"
        ),
    ]
    if totals.slow:
        lines.append(f"machine   slower than usual in {totals.slow} of those frames")
    if totals.unanswered or totals.server_losses:
        lines.append(
            f"server    {totals.unanswered} batches not answered in time and read here; out {totals.server_losses} times"
        )
    if totals.reconnects:
        lines.append(f"source    lost and back again: {totals.reconnects}")
    for cause, count in sorted(totals.drops.items(), key=lambda drop: (drop[0].of_faces, drop[0])):
        what = "unread    {} faces: {}" if cause.of_faces else "dropped   {} frames: {}"
        lines.append(what.format(count, cause.value))
    return lines
