"""A container's quota counts as cores, under both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.network.cores import available_cores, quotas


def system(root: Path, membership: str, **files: str) -> Path:
    """A made /proc and /sys."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "0::/system.slice/faces.service\n"
V1 = "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        (V2, {"system.slice/faces.service/cpu.max": "max 100000\n", "system.slice/cpu.max": "400000 100000\n"}, [4.0]),
        ("0::/../../elsewhere\n", {"cpu.max": "50000 100000\n"}, [0.5]),
        (V1, {"cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "200000", "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000"}, [2.0]),
        (V1, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, [3.0]),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("0::/\n", {"cpu.max": "garbage"}, []),
        ("0::/\n", {}, []),
    ],
)  # fmt: skip
def test_quotas_of_all_groups(tmp_path, membership, files, expected):
    assert list(quotas(system(tmp_path, membership, **files))) == expected


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("50000", 1), ("199999", 1), ("max", None)])
def test_cores_are_whole_and_at_least_one(tmp_path, quota, cores):
    unlimited = available_cores(tmp_path / "nothing here")
    root = system(tmp_path / "root", "0::/\n", **{"cpu.max": f"{quota} 100000"})
    assert available_cores(root) == (cores or unlimited)
