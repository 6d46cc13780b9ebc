"""A made profile as wide as a network with exits 3, 5, 7 to 13 at four input sizes gives it: about thirty times in time."""

from __future__ import annotations

from scheduler.profile import OperatingPoint, PointProfile, Profile

BUCKETS = (1, 2, 4, 8, 16)
# Multiply-adds up to each block of MobileNet v1 0.75 at 224 px, in millions, and an error that falls with depth.
EXITS = {3: (72.6, 1.62), 5: (118.0, 1.30), 7: (162.4, 1.118), 8: (192.0, 1.044), 9: (221.6, 1.022), 10: (251.0, 1.010),
         11: (281.0, 1.006), 12: (295.6, 1.010), 13: (324.8, 1.028)}  # fmt: skip
SIZES = {48: 1.21, 64: 1.09, 96: 1.0, 128: 0.97}
MS_PER_MILLION = 0.03  # one core of the two that docs/results/logs/ was measured on
START_MS = 0.25  # of every run, whatever its batch


def wide_profile(tail: float = 1.1, ms: float = MS_PER_MILLION) -> Profile:
    """All 36 points; how many stay on the front is for the profile to say."""
    points = []
    for block, (madds, depth) in EXITS.items():
        for size, blur in SIZES.items():
            each = madds * (size / 224) ** 2 * ms
            error = depth * blur / (min(SIZES.values()) * 1.006)
            times = tuple(START_MS + n * each for n in BUCKETS)
            points.append(PointProfile(OperatingPoint(f"exit_{block:02d}", size), times, 2.9 + 1.6 * error, error))
    return Profile(BUCKETS, tuple(points), tail)
