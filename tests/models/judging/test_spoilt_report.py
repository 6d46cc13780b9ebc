from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from models.data.batches import spoilt_views
from models.judging.spoilt_report import summary, table
from models.shipping.card import CardError
from models.shipping.export import cross_fitted_coverage, interval_scales
from models.shipping.spoilt_card import spoilt_section


def levels(*ages: float, bias: float = 0.0) -> list:
    row = {"gender": 0.9, "coverage_50": 0.52, "coverage_68": 0.6, "coverage_90": 0.9}
    return [{"96": {"exit_13": {"mae": mae, "bias": bias * i, **row}}} for i, mae in enumerate(ages, 1)]


def report() -> dict:
    by_kind = {"clean": levels(5.0), "noise": levels(5.0, 6.0, 9.0, bias=-1.0), "jpeg": levels(5.5, 5.0, 7.0, bias=0.5)}
    kinds = {name: {"unit": "units", "levels": [1, 2, 3]} for name in ("noise", "jpeg")}
    about = {"model": "m", "sha256": "abc", "dataset": "utkface", "pictures": 7, "data": ["read 7 pictures"]}
    return {**about, "kinds": kinds, "figures": {"60": by_kind}, "summary": {"60": summary(by_kind)}}


def test_means_and_worsts_are_of_the_middle_strength():
    row = report()["summary"]["60"]["96"]["exit_13"]
    assert row["mae_mean"] == pytest.approx(5.5) and row["mae_ratio"] == pytest.approx(1.1)
    assert (row["mae_worst"], row["mae_worst_ratio"]) == ("noise", pytest.approx(1.2))
    assert (row["bias"], row["bias_of"]) == (-2.0, "noise")
    assert (row["bias_any_level"], row["bias_any_level_of"]) == (-3.0, "noise, strong")
    assert row["coverage_68_off"] == pytest.approx(-0.08)
    assert any("1.100 times" in line for line in table(report()))


def test_a_card_has_each_point_and_each_kind():
    manifest = SimpleNamespace(sha256="abc", network=SimpleNamespace(name="m.onnx"))
    text = "\n".join(spoilt_section(manifest, [report()], [("exit_13", 96), ("exit_13+mirror", 96)]))
    assert "| exit_13@96, 60 px | 5.00 | 5.50 | 1.10 | 1.20 (noise) | -2.0 (noise) |" in text
    assert "| noise | 1, 2, 3 units | 5.00, 6.00, 9.00 | -1.0, -2.0, -3.0 |" in text and "mirror" not in text
    manifest.sha256 = "another"
    with pytest.raises(CardError, match="another network file"):
        spoilt_section(manifest, [report()], [("exit_13", 96)])


def test_every_face_is_spoilt_once_and_the_same_way_twice():
    views = np.random.default_rng(0).integers(0, 256, (9, 100, 100), np.uint8)
    first, again = spoilt_views(views), spoilt_views(views)
    assert sorted(np.concatenate([chosen for chosen, _ in first])) == list(range(9))
    assert [p.shape[1:] for _, p in first] == [(75, 75, 3), (38, 38, 3)]
    assert all((a == b).all() for (_, a), (_, b) in zip(first, again, strict=True))


def test_scales_from_clean_and_spoilt_faces_hold_on_both_together():
    rng = np.random.default_rng(0)
    errors = np.abs(rng.normal(size=(2, 4000))) * np.array([[1.0], [1.2]])
    scales = interval_scales(errors)
    assert 1.0 < scales[68] < 1.2
    clean, spoilt = cross_fitted_coverage(errors)
    assert (clean > spoilt).all() and (clean + spoilt) / 2 == pytest.approx([0.5, 0.68, 0.9], abs=0.02)
