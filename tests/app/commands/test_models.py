"""`models` and `card`: what ships is listed and its cards hold reported figures, on made manifests and reports."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.cli import main
from app.reports.networks import licence_in_a_word
from models import manifest as module
from models.judging import metrics
from models.judging.figures import figures
from models.manifest import DEFAULT_MODEL, WEIGHTS
from models.shipping.card import BEGIN, END
from tests.support.paths import ROOT

EXITS, SIZES = ("exit_07", "exit_13"), (48, 96)
MAE = {("exit_07", 48): 6.0, ("exit_13", 48): 5.5, ("exit_07", 96): 5.0, ("exit_13", 96): 4.0}


def write_network(folder: Path, name: str, content: bytes = b"no real network") -> Path:
    """The shipped manifest cut down to two exits, and stretched to two sizes with figures that are known."""
    data = json.loads((WEIGHTS / f"{DEFAULT_MODEL}.json").read_text(encoding="utf-8"))
    data |= {
        "name": name,
        "exits": [e for e in data["exits"] if e["name"] in EXITS],
        "mirrored": [],
        "licence": "Weights: MIT. Code: MIT.",
    }
    data["input"]["sizes"] = SIZES
    data["network"] |= {"file": f"{name}.onnx", "sha256": hashlib.sha256(content).hexdigest()}
    for one in data["exits"]:
        one["multiply_adds"] = {s: one["multiply_adds"]["96"] * s * s // 96**2 for s in SIZES}
        one["age_interval_scale"] = dict.fromkeys(SIZES, one["age_interval_scale"]["96"])
        one["validation"] = {s: one["validation"]["96"] | {"mae": MAE[one["name"], s]} for s in SIZES}
    (folder / f"{name}.onnx").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return folder / f"{name}.json"


def write_reports(folder: Path, sha256: str, n: int = 200) -> None:
    """Reports as `evaluate --json` writes them, of made estimates that are closer the larger the input."""
    rng = np.random.default_rng(0)
    known = {"age": rng.integers(0, 100, n), "gender": rng.integers(0, 2, n), "ethnicity": rng.integers(0, 5, n)}
    for dataset in ("utkface", "fer2013"):
        told = known if dataset == "utkface" else {"expression": rng.integers(0, 7, n)}
        labels = {k: np.full(n, -1) for k in ("age", "gender", "expression", "ethnicity")} | told
        rows = {}
        for size in SIZES:
            p = {"gender": rng.dirichlet(np.ones(2), n), "expression": rng.dirichlet(np.ones(7), n)}
            guess = np.clip(labels["age"] + rng.normal(0, 400 / size, n), 0, 100).round().astype(int)
            rows[size] = {
                e: figures(p | {"age": np.eye(101)[guess]}, labels, {50: 3.0, 68: 8.0, 90: 15.0}) for e in EXITS
            }
        report = {
            "model": "made", "sha256": sha256, "dataset": dataset, "pictures": n, "alignment": "landmarks of each picture",
            "data": [f"read {n} pictures"], "multiply_adds": {}, "figures": rows, "split": "validation",
        }  # fmt: skip
        (folder / f"{dataset}.report.json").write_text(json.dumps(report), encoding="utf-8")


def test_what_ships_is_listed_without_torch_and_onnxruntime():
    code = (
        "import sys; from app.cli import main; main(['models', '--json']); "
        "print({'torch', 'onnxruntime', 'onnx'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert done.stderr.strip() == "set()"
    assert set(found) == {p.stem for p in WEIGHTS.glob("*.json")}
    assert [one["default"] for one in json.loads(done.stdout)] == [True] + [False] * (len(found) - 1)
    mine, truth = found[DEFAULT_MODEL], json.loads((WEIGHTS / f"{DEFAULT_MODEL}.json").read_text(encoding="utf-8"))
    assert mine["bytes"] == (WEIGHTS / f"{DEFAULT_MODEL}.onnx").stat().st_size == truth["network"]["bytes"]
    assert mine["input_sizes"] == truth["input"]["sizes"] and mine["exits"] == [e["name"] for e in truth["exits"]]
    costs = [n for e in truth["exits"] + truth["mirrored"] for n in e["multiply_adds"].values()]
    assert mine["cheapest"]["multiply_adds"] == min(costs) and mine["dearest"]["multiply_adds"] == max(costs)


def test_a_folder_of_networks_is_listed_with_best_and_cheapest_point(tmp_path, capsys):
    write_network(tmp_path, "small")
    write_network(tmp_path, "wide", b"x" * 2_500_000)
    assert main(["models", "--folder", str(tmp_path)]) == 0
    small, cheapest, about, wide, *_ = capsys.readouterr().out.splitlines()[1:]
    assert small.split()[:6] == ["small", "0.0", "MB", "2", "best", "exit_13@96"] and "4.00" in small.split()
    assert cheapest.split()[:2] == ["cheapest", "exit_07@48"] and "6.00" in cheapest.split()
    assert "input 48, 96 px" in about and about.endswith("; MIT") and "default" not in about
    assert wide.split()[:3] == ["wide", "2.5", "MB"]


def test_a_broken_manifest_hides_no_other_network(tmp_path, capsys):
    write_network(tmp_path, "small")
    (tmp_path / "cut.json").write_text("{", encoding="utf-8")
    assert main(["models", "--folder", str(tmp_path), "--json"]) == 4
    out, err = capsys.readouterr()
    assert [one["name"] for one in json.loads(out)] == ["small"] and "cut.json" in err
    (tmp_path / "none").mkdir()
    assert main(["models", "--folder", str(tmp_path / "none")]) == 2
    assert "export" in capsys.readouterr().err


def test_a_licence_in_a_word():
    assert licence_in_a_word("Weights: for research only, no commercial use, since ...") == "for research only"
    assert licence_in_a_word("MIT") == "MIT" and licence_in_a_word("") == "licence unknown"


def test_run_takes_a_shipped_network_by_its_name(tmp_path, monkeypatch, capsys):
    for suffix in (".json", ".onnx"):
        shutil.copy(WEIGHTS / f"{DEFAULT_MODEL}{suffix}", tmp_path)
    other = json.loads((tmp_path / f"{DEFAULT_MODEL}.json").read_text(encoding="utf-8")) | {"name": "other"}
    (tmp_path / "other.json").write_text(json.dumps(other), encoding="utf-8")
    cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    how = ["run", "--no-show", "--source", str(tmp_path / "dark.png"), "--exit", "7", "--threads", "1", "--model"]
    assert main([*how, "other"]) == 0
    assert "network   other on" in capsys.readouterr().out
    assert main([*how, "othre"]) == 4
    err = capsys.readouterr().err
    assert f"{DEFAULT_MODEL}, other" in err and "main.py models" in err


@pytest.fixture
def network(tmp_path, monkeypatch) -> Path:
    """A network with a card and reports."""
    monkeypatch.setattr(
        metrics, "bootstrap_interval", lambda v: (float(v.min()), float(v.max()))
    )  # which takes no time
    path = write_network(tmp_path, "made")
    path.with_suffix(".md").write_text(f"# Card\n\n{BEGIN}\nold\n{END}\n\n## Weaknesses\n", encoding="utf-8")
    write_reports(tmp_path, json.loads(path.read_text())["network"]["sha256"])
    return path


def card(path: Path, *reports: str) -> int:
    return main(["card", "--model", str(path), "--report", *(str(path.with_name(f"{r}.report.json")) for r in reports)])


def test_a_cards_figures_are_those_of_the_reports(network):
    assert card(network, "utkface", "fer2013") == 0
    text = network.with_suffix(".md").read_text(encoding="utf-8")
    assert (
        text.startswith(f"# Card\n\n{BEGIN}\n") and text.endswith(f"{END}\n\n## Weaknesses\n") and "\nold\n" not in text
    )
    utk, fer = (
        json.loads(network.with_name(f"{d}.report.json").read_text())["figures"] for d in ("utkface", "fer2013")
    )
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        rows.setdefault(cells[0], cells)
    best, cheapest = rows["exit_13@96 (best)"], rows["exit_07@48"]
    assert (
        best[2].startswith(f"{utk['96']['exit_13']['mae']:.2f} (") and best[3] == f"{utk['96']['exit_13']['cs5']:.1%}"
    )
    assert f"{fer['48']['exit_07']['macro_f1']:.1%}" in text and cheapest[1] == "7.5 M"
    decades = utk["96"]["exit_13"]["mae_by_decade"]
    assert rows["MAE, exit_13@96"][1:] == [f"{d['mae']:.1f}" for d in decades.values()]
    assert rows["gender, exit_13@96"][1:] == [f"{d['gender']:.1%}" for d in decades.values()]
    for group, values in utk["48"]["exit_07"]["groups"].items():
        assert rows[group][1] == str(values["faces"]) and f"{values['bias']:+.2f}" in rows[group]
    assert rows["found, exit_07@48"][4] == f"{fer['48']['exit_07']['recall_by_expression']['happy']['recall']:.1%}"
    assert f"{utk['96']['exit_13']['coverage_68']:.1%} (" in text
    widths = {len(line.split("|")) for line in text.splitlines() if line.startswith(("| label", "| Asian"))}
    assert len(widths) == 1  # head and rows of a table fit
    assert card(network, "utkface", "fer2013") == 0 and network.with_suffix(".md").read_text(encoding="utf-8") == text


def test_reports_that_do_not_belong_to_the_card_change_nothing(network, tmp_path, capsys):
    before = network.with_suffix(".md").read_text(encoding="utf-8")
    assert card(network, "utkface", "utkface") == 2 and "two reports give" in capsys.readouterr().err
    report = json.loads(network.with_name("utkface.report.json").read_text())
    for name, change, says in (
        ("other", {"sha256": "0" * 64}, "another network file"),
        ("small", {"figures": {"48": report["figures"]["48"]}}, "--size"),
        ("cut", {"pictures": None}, "incomplete or wrong"),
        ("odd", {"figures": []}, "incomplete or wrong"),
    ):
        network.with_name(f"{name}.report.json").write_text(json.dumps(report | change), encoding="utf-8")
        assert card(network, name) == 2 and says in capsys.readouterr().err, name
    network.with_name("list.report.json").write_text("[]", encoding="utf-8")
    assert card(network, "list") == 2 and card(network, "none") == 2
    assert network.with_suffix(".md").read_text(encoding="utf-8") == before
    network.with_suffix(".md").write_text("# Card\n", encoding="utf-8")
    assert card(network, "utkface") == 2 and END in capsys.readouterr().err
    network.with_suffix(".md").unlink()
    assert card(network, "utkface") == 6 and END in capsys.readouterr().err


OF_BEFORE = "23ee25914b11"  # the network whose card was written before the command was: goes with it


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.json")), ids=lambda p: p.stem)
def test_each_network_that_ships_has_a_card_with_its_own_figures(path):
    """A network that is exported anew needs `main.py card` anew."""
    text, sha256 = (
        path.with_suffix(".md").read_text(encoding="utf-8"),
        json.loads(path.read_text())["network"]["sha256"],
    )
    if sha256.startswith(OF_BEFORE):
        return
    assert text.count(BEGIN) == text.count(END) == 1
    part = text.split(BEGIN)[1].split(END)[0]
    assert sha256[:12] in part and all(label in part for label in ("| White |", "| 0-9 |", "| happy |"))
