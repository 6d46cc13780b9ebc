"""What rules made of one world, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.simulate import Outcome


def outcome_table(outcomes: list[Outcome]) -> list[str]:
    """Lines for people; where there is an oracle, each row's regret against it."""
    oracle = next((o for o in outcomes if o.rule.startswith("oracle")), None)
    lines = [
        f"{'rule':<27}{'misses':>9}{'age p50':>9}{'p95':>7}{'p99':>7}{'read':>7}{'MAE':>7}{'streaming':>11}{'regret':>8}"
        f"{'longest wait':>14}{'its bound':>11}{'left unread':>13}{'switches/min':>14}"
    ]
    for o in outcomes:
        regret = f"{o.streaming_mae / oracle.streaming_mae - 1:+.1%}" if oracle and oracle.faces else ""
        lines.append(
            f"{o.rule:<27}{o.miss_share:>9.2%}{o.age_p50_ms:>9.1f}{o.age_p95_ms:>7.1f}{o.age_p99_ms:>7.1f}"
            f"{o.served / max(o.faces, 1):>7.0%}{o.delivered_mae:>7.2f}{o.streaming_mae:>11.3f}{regret:>8}"
            f"{o.longest_wait_ms:>11.0f} ms{o.wait_bound_ms:>8.0f} ms{o.left_unread:>13}{o.switches_per_minute:>14.0f}"
        )
    return lines
