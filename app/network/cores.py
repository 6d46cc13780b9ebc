"""How many cores this process may use: its affinity, and the CPU time that a container's or service's quota leaves it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def available_cores(root: Path = Path("/")) -> int:
    """Whole ones: one thread more would use the quota up, and all would be stopped for the rest of each period."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in quotas(root))]))


def quotas(root: Path = Path("/")) -> Iterator[float]:
    """Cores' worth of CPU time for each control group that this process is in, as far as they are limited (cgroups(7))."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                for mount in ("", "unified"):  # the other beside controllers of version 1
                    yield from _up(root / "sys/fs/cgroup" / mount, path, _quota_v2)
            elif "cpu" in controllers.split(","):
                for mount in (controllers, "cpu"):
                    yield from _up(root / "sys/fs/cgroup" / mount, path, _quota_v1)


def _up(mount: Path, path: str, quota_of: Callable[[Path], float]) -> Iterator[float]:
    """From a group to its root. In a container the path may be the host's, of which only the root is mounted."""
    group = mount / path.lstrip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota = quota_of(folder)
            if quota > 0:
                yield quota
        if folder == mount:
            return


def _quota_v2(folder: Path) -> float:
    """ "150000 100000" is one and a half cores, "max 100000" no limit."""
    quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    return -1.0 if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float:
    """-1: no limit."""
    return int((folder / "cpu.cfs_quota_us").read_text()) / int((folder / "cpu.cfs_period_us").read_text())
