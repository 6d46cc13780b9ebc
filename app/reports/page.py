"""The report of `replay --report`: one HTML file with pictures, no requests to anywhere."""

from __future__ import annotations

import html
import io
import random
from math import inf, nan
from typing import TYPE_CHECKING

from app.reports.comparison import Comparison, comparison_table
from app.reports.outcomes import outcome_table
from models.manifest import MIRROR
from scheduler.compare import prediction_error
from scheduler.profile import OperatingPoint, quantile
from scheduler.rivals import MISSES_ALLOWED, RIVALS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scheduler.log import FrameRecord, LatencyLog
    from scheduler.profile import Profile
    from scheduler.simulate import Outcome

INK, SOFT, OURS, OTHER, BAD, GOOD = "#1d2733", "#8794a3", "#0b6e99", "#c96f1d", "#b3261e", "#3a7d44"
MOST_DOTS = 4000  # in a scatter; more would only be slower to draw
MOST_FRAMES = 3000  # in the timeline

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: 0; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .3rem; }}
figure {{ margin: 0; }} figure svg {{ width: 100%; height: auto; }}
p, figcaption {{ max-width: 46rem; }} .about, figcaption {{ color: #51606f; }}
pre {{ overflow-x: auto; font-size: 12.5px; line-height: 1.45; background: #f4f6f8; padding: .8rem; border-radius: 6px; }}
dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }}
dl div {{ background: #f4f6f8; border-radius: 6px; padding: .6rem .8rem; }}
dt {{ color: #51606f; font-size: .85rem; }} dd {{ margin: 0; font-size: 1.35rem; font-weight: 600; }}
</style></head><body>
{body}
</body></html>
"""


def write_report(path: Path, log: LatencyLog, name: str, outcomes: list[Outcome], comparison: Comparison) -> None:
    """Draws everything that a log and its rivals show. Raises OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ran = [r for r in log.frames if r.served]
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
             "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "svg.fonttype": "path",
             "axes.grid": True, "grid.color": "#e6eaee", "grid.linewidth": 0.7, "axes.axisbelow": True,
             "svg.hashsalt": "report"}  # fmt: skip
    with pyplot.rc_context(style):
        pictures = [
            ("Frame by frame", _timeline(log.frames),
             "Faces in view (grey: wanted to be read; blue: read in that frame), the operating point, and each frame's age "
             "against its deadline (line); red marks are misses."),
            ("Latency against faces", _latency(log.profile, ran),
             "Lines are the profile's medians of each point on the front, dots what was measured for as many faces as were "
             "read; dots above their line are the machine's slower moments."),
            ("The front, and the rivals on it", _front(log.profile, outcomes),
             "Left: every measured point by time and error; the line joins those worth choosing. Right: every rule in the same "
             f"world; down and left is better, and right of the dotted line more than {MISSES_ALLOWED:.0%} were missed."),
            ("Regret", _regret(outcomes),
             "How much further off the screen was, on average over people and time, than the oracle's, who knows every point's "
             "true latency. Hatched: more misses than allowed."),
            ("Predicted against measured", _predicted(ran),
             "Left: each batch's expected time against what it took. Right: what it took over the prediction that nearly "
             "all batches should stay under."),
            ("Frame ages", _ages(log.frames),
             "Each frame's age as a share of its budget; what lies right of the line came too late."),
            ("Simulated against live", _compared(comparison),
             "The same crowd and front end on the profile with the recorded ups and downs in another order: ages (left) and "
             "points chosen (right)."),
        ]  # fmt: skip
        sections = [
            f"<h2>{t}</h2>\n<figure>{_svg(f)}<figcaption>{html.escape(c)}</figcaption></figure>" for t, f, c in pictures
        ]
        pyplot.close("all")
    about = "".join(f"<li><b>{html.escape(r.name)}</b>: {html.escape(r.about)}</li>" for r in RIVALS)
    tables = (
        f"<h2>The table</h2><pre>{html.escape(chr(10).join(outcome_table(outcomes)))}</pre><ul class='about'>{about}</ul>"
        f"<pre>{html.escape(chr(10).join(comparison_table(comparison)))}</pre>"
    )
    title = f"Latency report: {html.escape(name)}"
    path.write_text(PAGE.format(title=title, body=_head(log, title) + "\n".join(sections) + tables), encoding="utf-8")


def _head(log: LatencyLog, title: str) -> str:
    machine, model = log.header.get("machine", {}), log.header.get("model", {})
    cores = f"{machine['cores']} cores" if "cores" in machine else None
    about = ", ".join(
        str(x) for x in (model.get("name"), machine.get("processor"), cores, log.header.get("created")) if x
    )
    ages = [r.age_ms for r in log.frames]
    p50, p95, below = prediction_error(log)
    budgets = sorted({r.budget_ms for r in log.frames})
    facts = {
        "frames": f"{len(log.frames):,}",
        "budget": " ".join(f"{b:.3g}" for b in budgets[:4]) + " ms" + (" …" if len(budgets) > 4 else ""),
        "missed": f"{sum(r.miss for r in log.frames) / len(log.frames):.2%}",
        "age p50, p95": f"{quantile(ages, 0.5):.0f}, {quantile(ages, 0.95):.0f} ms",
        "prediction off, p50, p95": f"{p50:.0%}, {p95:.0%}",
        "batches below prediction": f"{below:.1%}",
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items())
    return f"<h1>{title}</h1><p class='about'>{html.escape(about)}</p><dl>{cells}</dl>"


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _axes(columns: int = 1, height: float = 3.2, ratios: tuple[float, ...] | None = None) -> tuple[Figure, list[Axes]]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, columns, figsize=(9.6, height), layout="constrained", width_ratios=ratios, squeeze=False, dpi=110
    )
    return figure, list(axes[0])


def _some(records: list[FrameRecord]) -> list[FrameRecord]:
    return records if len(records) <= MOST_DOTS else random.Random(1).sample(records, MOST_DOTS)


def _colours(profile: Profile) -> dict[OperatingPoint, tuple[float, ...]]:
    import matplotlib

    shades = matplotlib.colormaps["viridis"]
    ordered = sorted(profile.points, key=lambda p: profile.cost(p.point))
    return {p.point: shades(0.92 * i / max(len(ordered) - 1, 1)) for i, p in enumerate(ordered)}


def _latency(profile: Profile, ran: list[FrameRecord]) -> Figure:
    figure, (axes,) = _axes(height=3.8)
    colours, most = _colours(profile), max((r.served for r in ran), default=1)
    for point in profile.front:
        faces = range(1, most + 1)
        axes.plot(faces, [profile.median_ms(point, n) for n in faces], color=colours[point], lw=1.6, label=str(point))
    shake, dots = random.Random(2), _some(ran)
    axes.scatter([r.served + shake.uniform(-0.25, 0.25) for r in dots], [r.measured_ms for r in dots],
                 s=4, alpha=0.5, color=[colours[r.point] for r in dots], rasterized=True, lw=0)  # fmt: skip
    axes.set(xlabel="faces read in the frame", ylabel="network, ms", yscale="log")
    axes.legend(fontsize=7, ncols=1, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _front(profile: Profile, outcomes: list[Outcome]) -> Figure:
    figure, (left, right) = _axes(2, 4.0)
    largest = profile.buckets[-1]
    for p in profile.points:
        left.plot(
            profile.median_ms(p.point, largest), p.error, "o", ms=4, color=OURS if p.point in profile.front else SOFT
        )
    front = [(profile.median_ms(p, largest), profile.error(p)) for p in profile.front]
    left.plot(*zip(*front, strict=True), color=OURS, lw=1)
    for i, p in enumerate(profile.front):
        if i % max(len(profile.front) // 5, 1) == 0 or p == profile.front[-1]:
            left.annotate(
                str(p),
                (profile.median_ms(p, largest), profile.error(p)),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=7,
            )
    left.set(xscale="log", xlabel=f"ms for {largest} faces", ylabel="error over all tasks, 1 = best")
    for i, o in enumerate(sorted(outcomes, key=lambda o: o.streaming_mae)):
        colour = OURS if o is outcomes[0] else GOOD if o.rule.startswith("oracle") else OTHER
        at, up = (o.miss_share * 100, o.streaming_mae), (-9, 4)[i % 2]  # in turn below and above, since many are close
        right.plot(*at, "o", ms=6 if colour != OTHER else 4, color=colour)
        right.annotate(
            o.rule.split(" exit_")[0], at, xytext=(4, up), textcoords="offset points", fontsize=6.5, color=colour
        )
    right.axvline(MISSES_ALLOWED * 100, color=SOFT, lw=1, ls=":")
    right.set_xscale("symlog", linthresh=1)
    right.set(xlabel="frames missed, %", ylabel="streaming MAE, years")
    right.margins(x=0.25)
    return figure


def _timeline(frames: tuple[FrameRecord, ...]) -> Figure:
    from matplotlib import pyplot

    shown = frames[:MOST_FRAMES]
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, sharex=True, figsize=(9.6, 5.2), height_ratios=(1, 1.3, 1.5), layout="constrained", dpi=110
    )
    at = range(len(shown))
    top.fill_between(at, [r.wanted for r in shown], step="post", color="#d5dbe1", lw=0)
    top.step(at, [r.read for r in shown], where="post", color=OURS, lw=0.7)
    top.set_ylabel("faces")
    points = sorted({r.point for r in shown if r.served}, key=lambda p: (p.exit.endswith(MIRROR), p.size, p.exit))
    rank = {p: i for i, p in enumerate(points)}
    chosen = [(i, rank[r.point]) for i, r in enumerate(shown) if r.served]
    middle.plot(*(zip(*chosen, strict=True) if chosen else ([], [])), ".", ms=2, color=OURS, rasterized=True)
    middle.set_yticks(range(len(points)), [str(p) for p in points], fontsize=7)
    bottom.plot(at, [r.age_ms for r in shown], lw=0.5, color=SOFT)
    bottom.step(at, [r.budget_ms if r.budget_ms < inf else nan for r in shown], where="post", color=INK, lw=1)
    missed = [(i, r.age_ms) for i, r in enumerate(shown) if r.miss]
    bottom.plot(*(zip(*missed, strict=True) if missed else ([], [])), "x", ms=4, color=BAD)
    most = quantile([r.age_ms for r in shown], 0.995)
    bottom.set(
        ylabel="age, ms",
        xlabel="frame" + (f" (the first {MOST_FRAMES} of {len(frames)})" if len(frames) > MOST_FRAMES else ""),
    )
    bottom.set_ylim(0, 1.15 * max(most, *(r.budget_ms for r in shown if r.budget_ms < inf), 1.0))
    return figure


def _regret(outcomes: list[Outcome]) -> Figure:
    oracle = next(o for o in outcomes if o.rule.startswith("oracle"))
    ordered = sorted((o for o in outcomes if o is not oracle), key=lambda o: -o.streaming_mae)
    figure, (axes,) = _axes(height=0.28 * len(ordered) + 0.8)
    for i, o in enumerate(ordered):
        regret, many = (o.streaming_mae / oracle.streaming_mae - 1) * 100, o.miss_share > MISSES_ALLOWED
        axes.barh(
            i,
            regret,
            color=OURS if o is outcomes[0] else "#d9b48f",
            hatch="////" if many else "",
            edgecolor="white",
            height=0.7,
        )
        label = f" {regret:+.1f} %, {o.miss_share:.1%} missed"
        axes.annotate(label, (max(regret, 0), i), va="center", fontsize=7.5, color=BAD if many else INK)
    axes.set_yticks(range(len(ordered)), [o.rule for o in ordered])
    axes.set_xlabel("streaming MAE over the oracle's, %")
    axes.axvline(0, color=INK, lw=0.8)
    axes.margins(x=0.22)
    axes.grid(visible=False, axis="y")
    return figure


def _predicted(ran: list[FrameRecord]) -> Figure:
    figure, (left, right) = _axes(2)
    dots = _some(ran)
    expected, measured = [r.predicted_ms / r.tail for r in dots], [r.measured_ms for r in dots]
    left.scatter(expected, measured, s=4, alpha=0.4, color=OURS, lw=0, rasterized=True)
    ends = [min(expected + measured), max(expected)]
    left.plot(ends, ends, color=INK, lw=1)
    left.set(xlabel="expected, ms", ylabel="measured, ms", xscale="log", yscale="log")
    ratios = [min(r.measured_ms / r.predicted_ms, 2.0) for r in ran]
    right.hist(ratios, bins=80, color=OURS)
    right.axvline(1, color=INK, lw=1)
    right.set(xlabel="measured / predicted (2 and more together)", ylabel="batches")
    return figure


def _ages(frames: tuple[FrameRecord, ...]) -> Figure:
    figure, (axes,) = _axes(height=2.6)
    budgets = sorted({r.budget_ms for r in frames})
    groups = (
        {f"{b:.4g} ms": [r for r in frames if r.budget_ms == b] for b in budgets}
        if len(budgets) <= 4
        else {"all": list(frames)}
    )
    for (name, records), colour in zip(groups.items(), (OURS, OTHER, GOOD, SOFT), strict=False):
        axes.hist(
            [min(r.age_ms / r.budget_ms, 1.5) for r in records],
            bins=75,
            range=(0, 1.5),
            histtype="step",
            lw=1.4,
            color=colour,
            label=name,
        )
    axes.axvline(1, color=INK, lw=1)
    axes.set(xlabel="age / budget (1.5 and more together)", ylabel="frames", yscale="log")
    axes.legend(frameon=False, title="budget", fontsize=7.5, title_fontsize=7.5)
    return figure


def _compared(c: Comparison) -> Figure:
    figure, (left, right) = _axes(2, 3.4)
    for ages, colour, name in ((c.live_ages, OURS, "live"), (c.simulated_ages, OTHER, "simulated")):
        places = [i / 400 for i in range(401)]
        left.plot(
            [quantile(sorted(ages), q) for q in places], [100 * q for q in places], color=colour, lw=1.5, label=name
        )
    left.set(xlabel="frame age, ms", ylabel="frames up to this age, %")
    left.set_xlim(0, 1.2 * max(quantile(c.live_ages, 0.99), quantile(c.simulated_ages, 0.99)))
    left.legend(frameon=False)
    names = sorted({*c.live_points, *c.simulated_points})
    for shift, points, colour in ((-0.2, c.live_points, OURS), (0.2, c.simulated_points, OTHER)):
        total = max(sum(points.values()), 1)
        right.barh(
            [i + shift for i in range(len(names))], [100 * points[n] / total for n in names], height=0.38, color=colour
        )
    right.set_yticks(range(len(names)), names, fontsize=7)
    right.set_xlabel("of the frames in which the network ran, %")
    right.grid(visible=False, axis="y")
    return figure
