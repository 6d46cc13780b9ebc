"""What `bench crowd` says of one budget and number of busy programs: misses with their interval, ages, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scheduler.profile import quantile

if TYPE_CHECKING:
    from scheduler.log import FrameRecord
    from scheduler.profile import Profile

CALM = 5  # frames in time in a row after which a change of the machine is overcome


@dataclass
class Cell:
    """One budget beside a number of hogs. Times in milliseconds."""

    budget_ms: float
    hogs: int
    records: list[FrameRecord] = field(default_factory=list)
    decide_us: list[float] = field(default_factory=list)
    decide_cpu_us: list[float] = field(default_factory=list)  # without the time that others had the core
    usual_us: list[float] = field(default_factory=list)  # in moments that the probe called usual
    hogs_came: list[int] = field(default_factory=list)  # the first frames with them
    waits: list[tuple[float, float]] = field(default_factory=list)  # longest and its bound, of each crowd
    dropped: int = 0
    avoidable: int = 0  # missed although the cheapest point could have made it


def figures(cell: Cell, control: Cell, profile: Profile) -> dict[str, Any]:
    """A cell in numbers. Misses are frames without a result in time, dropped ones included."""
    frames, misses = len(cell.records) + cell.dropped, sum(r.miss for r in cell.records) + cell.dropped
    others, others_missed = (
        len(control.records) + control.dropped,
        sum(r.miss for r in control.records) + control.dropped,
    )
    ran = [r for r in cell.records if r.served]
    off = [abs(expected(r) - r.measured_ms) / r.measured_ms for r in ran] or [0.0]
    ages = [r.age_ms for r in cell.records]
    low, high = interval(misses, frames)
    return {
        "budget_ms": cell.budget_ms,
        "hogs": cell.hogs,
        "frames": frames,
        "misses": misses,
        "miss_share": misses / frames,
        "miss_low": low,
        "miss_high": high,
        "dropped": cell.dropped,
        "avoidable": cell.avoidable,
        "cheapest_frames": others,
        "cheapest_misses": others_missed,
        "cheapest_share": others_missed / others,
        "age_p50_ms": quantile(ages, 0.5),
        "age_p95_ms": quantile(ages, 0.95),
        "age_p99_ms": quantile(ages, 0.99),
        "read": sum(r.read for r in ran) / max(sum(r.faces for r in cell.records), 1),
        "mae": sum(profile.mae(p) * n for r in ran for p, n, _ in r.batches()) / max(sum(r.read for r in ran), 1),
        "runs": sum(len(list(r.batches())) for r in ran) / max(len(ran), 1),
        "longest_wait_ms": max(w for w, _ in cell.waits),
        "wait_bound_ms": max(b for _, b in cell.waits),
        "error_p50": quantile(off, 0.5),
        "error_p95": quantile(off, 0.95),
        "below_prediction": sum(r.measured_ms <= r.predicted_ms for r in ran) / max(len(ran), 1),
        "decide_us_p50": quantile(cell.decide_us or [0.0], 0.5),
        "decide_us_p99": quantile(cell.decide_us or [0.0], 0.99),
        "decide_cpu_us_p99": quantile(cell.decide_cpu_us or [0.0], 0.99),
        "decide_usual_us_p99": quantile(cell.usual_us or [0.0], 0.99),
        "slow": 1 - len(cell.usual_us) / max(len(ran), 1),
        "recovery_frames": [recovery(cell.records, start) for start in cell.hogs_came],
    }


def expected(record: FrameRecord) -> float:
    """The prediction without its tail: what half of the batches were thought to stay under."""
    return record.predicted_ms / record.tail


def recovery(records: list[FrameRecord], start: int) -> int:
    """Frames from `start` until CALM in a row are in time; 0 where the change made none late."""
    calm = 0
    for i, record in enumerate(records[start:]):
        calm = 0 if record.miss else calm + 1
        if calm == CALM:
            return i + 1 - CALM
    return len(records) - start


def interval(misses: int, frames: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, misses, frames - misses + 1)) if misses else 0.0
    high = float(beta.ppf(0.975, misses + 1, frames - misses)) if misses < frames else 1.0
    return low, high


HEAD = (
    f"{'budget':<9}{'hogs':>4}{'misses (95 %)':>24}{'avoidable':>11}{'cheapest alone':>16}"
    f"{'age p50':>9}{'p95':>7}{'p99':>7}{'read':>6}"
    f"{'MAE':>6}{'off p50':>9}{'p95':>6}{'slow':>7}{'decide p99':>12}{'usual':>10}{'recovery':>10}{'wait (bound)':>18}"
)


def line(f: dict[str, Any]) -> str:
    misses = f"{f['miss_share']:.2%} ({f['miss_low']:.1%}-{f['miss_high']:.1%})"
    wait = f"{f['longest_wait_ms']:.0f} ({f['wait_bound_ms']:.0f}) ms"
    slowest = f"{max(f['recovery_frames'])}" if f["recovery_frames"] else "-"
    return (
        f"{f['budget_ms']:<6g} ms{f['hogs']:>4}{misses:>24}{f['avoidable']:>11}{f['cheapest_share']:>16.2%}"
        f"{f['age_p50_ms']:>9.1f}{f['age_p95_ms']:>7.1f}{f['age_p99_ms']:>7.1f}{f['read']:>6.0%}{f['mae']:>6.2f}"
        f"{f['error_p50']:>9.1%}{f['error_p95']:>6.0%}{f['slow']:>7.1%}{f['decide_us_p99']:>9.0f} us"
        f"{f['decide_usual_us_p99']:>7.0f} us{slowest:>10}{wait:>18}"
    )
