"""`run`: a pipeline with a window, or without one a progress bar; then the summary."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from contextlib import nullcontext, redirect_stdout
from datetime import datetime
from typing import TYPE_CHECKING

from app import config
from app.command import add_config_file, command
from app.console.ending import ends_on_signals
from app.console.telling import Teller, complain, untroubled
from app.errors import DisplayError, SourceDamaged, UsageError
from app.files import STDOUT
from app.settings import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.compose import App
    from app.outputs.sender import Sender
    from app.pipeline import Pipeline
    from app.settings import Settings
    from app.sources.source import Source

TITLE = "Elastic Faces"
POLL_S = 0.1


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "run",
        run,
        "Watch a camera, a video or the demo crowd.",
        "run --source clip.mp4 --results results.jsonl --output annotated.mp4",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in options():
        if option.group not in groups:
            groups[option.group] = p.add_argument_group(option.group)
        group = groups[option.group]
        default = config.default_text(option)
        text = (option.help if default == "none" else f"{option.help}; default: {default}").replace("%", "%%")
        if option.name == "source":
            group.add_argument(option.flag, nargs="+", action="extend", help=text)
        elif option.kind is bool:
            group.add_argument(option.flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(option.flag, type=option.kind, metavar=option.metavar or None, help=text)
    add_config_file(p)


def run(args: argparse.Namespace) -> int:
    """Makes the settings from flags, environment and file, then watches."""
    given = {k: v for k, v in vars(args).items() if k not in ("run", "config")}
    sources = given.pop("source", None) or []
    loaded = config.load(given | ({"source": sources[0]} if sources else {}), args.config)
    results = loaded.settings.results
    # Where results go to standard output, messages for people go to stderr.
    beside = redirect_stdout(sys.stderr) if results and str(results) == STDOUT else nullcontext()
    with untroubled(), beside:
        print(f"settings  {loaded.summary()}")
        return _one_or_many(loaded.settings, sources or [loaded.settings.source])


def _one_or_many(settings: Settings, sources: list[str]) -> int:
    from app.footage.many import asks_for_many, run_many
    from app.sources.many import expand, run_together

    found = expand(sources)
    if len(found) > 1 and run_together(found, realtime=settings.realtime):
        if settings.resume or asks_for_many(settings):
            raise UsageError(
                "--resume, {stem}, {name} and {folder} are of files; several cameras have {camera} for --output"
            )
        return watch(dataclasses.replace(settings, source=found[0], beside=tuple(found[1:])))
    if len(found) == 1 and not asks_for_many(settings):
        return watch(dataclasses.replace(settings, source=found[0]))
    return run_many(settings, found)


def watch(settings: Settings) -> int:
    """Runs until the source ends or the user ends it. Raises AppError where something else ended it."""
    from app.outputs.privacy import read_notice

    started, notice = time.monotonic(), settings.notice
    if notice is not None:
        notice = "" if notice.strip().lower() == "off" else read_notice(notice)
    teller = Teller(_past_the_bar)
    try:
        if _wants_window(settings):
            return _in_window(settings, notice, teller, started)
        return _without_window(settings, teller, started)
    finally:
        teller.close()


def _without_window(settings: Settings, teller: Teller, started_s: float) -> int:
    from app.compose import build
    from app.outputs.systemd import notify
    from app.reports.summary import tell

    app = build(settings, _calibration_bar())
    pipeline = app.pipeline
    _listen(pipeline, teller)
    with ends_on_signals(pipeline.stop):
        try:
            tell(app)
            pipeline.start()
            _watch(app)
        finally:
            notify("STOPPING=1")
            pipeline.close()
        _sum_up(pipeline, app.source, started_s, app.senders)
    return _ended(pipeline.failure, app.source, settings)


def _in_window(settings: Settings, notice: str | None, teller: Teller, started_s: float) -> int:
    """The window comes first; everything else is opened behind it."""
    from app.kiosk.alone import alone, lock_file
    from app.kiosk.opening import Opening
    from app.outputs.systemd import notify
    from app.reports.summary import tell
    from app.window.show import show
    from app.window.watched import Look

    if settings.plays_demo:
        settings = dataclasses.replace(settings, loop=True)  # a kiosk's demo goes on until somebody ends it
    opening = Opening(settings, lambda begun: _listen(begun.pipeline, teller), tell)

    def close() -> None:
        notify("STOPPING=1")
        opening.close()

    def screen_gone() -> None:
        """Closes the run: Qt ends the process in a moment and skips every `finally`."""
        close()
        complain("error: the screen is gone: its X server or Wayland compositor has ended. All files are complete")
        sys.stdout.flush()
        os._exit(DisplayError.exit_code)

    look = Look(
        fullscreen=settings.fullscreen,
        screen=settings.screen,
        rotate=int(settings.rotate),
        mirrored=settings.mirror,
        fill=settings.fill,
        panel=settings.panel,
        high_contrast=settings.high_contrast,
        language=settings.language,
        labels=settings.told,
        notice=notice,
        pin=settings.pin,
        keeps=settings.keeps,
        sends=bool(settings.server),
    )
    claim = alone(lock_file()) if settings.fullscreen else nullcontext()
    with claim, ends_on_signals(opening.stop):
        try:
            show(opening.watched(), title=TITLE, look=look, begin=opening.start, screen_gone=screen_gone)
        finally:
            close()
        if opening.begun:
            senders = opening.app.senders if opening.app else ()
            _sum_up(opening.begun.pipeline, opening.begun.source, started_s, senders)
    return _ended(opening.failure, opening.begun.source if opening.begun else None, settings)


def _listen(pipeline: Pipeline, teller: Teller) -> None:
    from app.reports.summary import source_text

    pipeline.tell = lambda event: teller(source_text(event))
    pipeline.faults.tell = teller


def _sum_up(pipeline: Pipeline, source: Source, started_s: float, senders: Sequence[Sender]) -> None:
    from app.reports.summary import camera_lines, summary

    for line in summary(pipeline.totals, started_s, pipeline.controls.budget_ms):
        print(line)
    for line in camera_lines(pipeline.cameras):
        print(line)
    for sender in senders:
        print(f"{sender.name:<9} {sender.sent} messages sent, {sender.dropped} dropped, {sender.refused} refused")
    if note := getattr(source, "note", ""):
        print(f"note      {note}")
    if source.damaged:
        print(f"warning   {source.damaged}")


def _ended(failure: Exception | None, source: Source | None, settings: Settings) -> int:
    if failure:
        raise failure
    if source and source.damaged and settings.strict:
        raise SourceDamaged(f"{source.damaged}. What was written is complete; leave out --strict to accept that")
    return 0


def _wants_window(settings: Settings) -> bool:
    if settings.show is False:
        return False
    from app.window.display import unknown_platform, why_no_display

    if mistake := unknown_platform():
        raise DisplayError(f"no window can be shown: {mistake}. Set it to one of these, or unset it")
    reason = why_no_display()
    if reason is None:
        return True
    if settings.show:
        raise DisplayError(f"no window can be shown: {reason}. Leave out --show to do the same without one")
    print(f"No window: {reason}\nDoing the same without one; Ctrl-C ends it.")
    return False


def _calibration_bar():
    from tqdm import tqdm

    bar: list[tqdm] = []

    def progress(done: int, total: int) -> None:
        if not bar and done < total:
            bar.append(tqdm(total=total, desc="getting the exits ready", leave=False, file=sys.stderr, disable=None))
        if bar:
            bar[0].update(done - bar[0].n)
        if bar and done >= total:
            bar.pop().close()  # loading may be followed by measuring

    return progress


def _past_the_bar(text: str) -> None:
    """Prints on stderr with the time, for the journal of a service."""
    from tqdm import tqdm

    tqdm.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}", file=sys.stderr)


def _watch(app: App) -> None:
    """A progress bar on stderr until the pipeline is done."""
    from tqdm import tqdm

    from app.outputs.systemd import Heart

    pipeline, heart = app.pipeline, Heart(app.pipeline.totals, app.pipeline.latest, app.source)
    # disable=None: only on a terminal; a service's journal is not the place for a bar.
    with tqdm(total=app.source.frame_count, unit="frame", file=sys.stderr, dynamic_ncols=True, disable=None) as bar:
        while True:
            heart.beat()
            done = pipeline.wait(POLL_S)
            bar.update(pipeline.totals.frames - bar.n)
            result = pipeline.latest()
            if result:
                bar.set_postfix(
                    faces=result.stats.faces,
                    exit=result.stats.exit or "-",
                    misses=pipeline.totals.misses,
                    refresh=False,
                )
            if done:
                return
