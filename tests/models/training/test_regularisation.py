"""The study of elastic training: arms that differ in nothing but their loss, results that survive a break, and statistics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from app.cli import main
from models.data.sets.base import DataError
from models.judging.regularisation_report import (
    crossed_bootstrap,
    make_report,
    markdown,
    paired_interval,
    read_results,
    save_result,
    sentence,
)
from models.training import batch_norm, regularisation
from models.training.config import TrainingError
from models.training.regularisation import Arm, Faces, Recipe, drawn_faces, equal_to_the_bit, first_network, run_study

RECIPE = Recipe(epochs=2, size=32, batch=4)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_core_an_arm():
    """As the study has it; and two threads on so little are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Fifteen faces of noise, three of them held out and one of no known age; and a study that is over soon."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "utkface.npy", rng.integers(0, 256, (15, 40, 40, 3), dtype=np.uint8))
    unknown, age = np.full(15, -1, np.int16), rng.integers(0, 101, 15).astype(np.int16)
    age[0] = -1
    names = np.array([f"{i}.jpg" for i in range(15)])
    np.savez(tmp_path / "utkface.labels.npz", held_out=np.arange(15) >= 12, names=names, age=age, gender=unknown, expression=unknown)  # fmt: skip
    monkeypatch.setattr(regularisation, "STATISTICS_BATCH", 4)
    monkeypatch.setattr(batch_norm, "BATCHES", 1)
    return tmp_path


def study(folder: Path, out: Path, epochs: int = 1, **more: object) -> None:
    run_study(folder, None, out, **{"count": 8, "seeds": 2, "recipe": Recipe(epochs=epochs, size=32), **more})


def bits(network: torch.nn.Module, but: str = "nothing") -> dict[str, torch.Tensor]:
    return {key: tensor.clone() for key, tensor in network.state_dict().items() if not key.startswith(but)}


def test_arms_start_from_one_network_and_only_what_they_learn_from_differs(folder):
    start = first_network(None, RECIPE, 1, CPU)
    arms = {name: Arm(name, start, RECIPE) for name in regularisation.ARMS}
    assert all(equal_to_the_bit(arm.network, start) for arm in arms.values())
    assert {name: (len(a.network.exits), len(a.network.stop_gradient), a.weight) for name, a in arms.items()} == {
        "last": (1, 0, 1.0),
        "elastic": (7, 0, 1.0),
        "stopped": (7, 6, 1.0),
        "divided": (7, 0, 1 / 7),
    }
    assert not equal_to_the_bit(first_network(None, RECIPE, 2, CPU), start)


def test_stopped_gradients_leave_the_last_exit_to_the_bit_and_the_papers_loss_does_not(folder):
    faces = Faces.read(folder)
    arms, losses = regularisation.train_seed(faces, faces.usable, None, RECIPE, 1, CPU)
    assert equal_to_the_bit(arms["last"].network, arms["stopped"].network) and losses["last"] == losses["stopped"]
    early, first = "heads.exit_07.dense.age.weight", first_network(None, RECIPE, 1, CPU).state_dict()
    assert not torch.equal(arms["stopped"].network.state_dict()[early], first[early])  # early exits did learn
    for name in ("elastic", "divided"):
        assert not equal_to_the_bit(arms["last"].network, arms[name].network)
    assert not equal_to_the_bit(arms["elastic"].network, arms["divided"].network)


def test_heads_learn_first_and_the_backbones_weights_wait(folder, monkeypatch):
    starts = []
    monkeypatch.setattr(
        regularisation, "Arm", lambda name, start, recipe: starts.append(bits(start)) or Arm(name, start, recipe)
    )
    faces = Faces.read(folder)
    regularisation.train_seed(faces, faces.usable, None, RECIPE, 1, CPU)
    fresh = first_network(None, RECIPE, 1, CPU).state_dict()
    changed = {key for key, tensor in starts[0].items() if not torch.equal(tensor, fresh[key]) and "running" not in key}
    changed -= {key for key in changed if "num_batches" in key}
    assert len(starts) == 4 and changed == {
        f"heads.exit_{k:02d}.dense.age.{p}" for k in range(7, 14) for p in ("weight", "bias")
    }


def test_the_rate_rises_then_falls_to_nothing():
    rates = [Recipe(epochs=1).rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.02) and max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] < 1e-4


def test_each_seed_draws_its_own_faces_by_name():
    names, usable = np.array([f"{i}.jpg" for i in range(50)]), np.arange(5, 50)
    one, two = drawn_faces(names, usable, 20, 1), drawn_faces(names, usable, 20, 2)
    assert len(set(one)) == 20 and set(one) <= set(usable) and set(one) != set(two)
    order = np.random.default_rng(0).permutation(50)  # the order of the pictures does not matter
    again = drawn_faces(names[order], np.flatnonzero(order >= 5), 20, 1)
    assert sorted(names[order][again]) == sorted(names[one])
    np.testing.assert_array_equal(drawn_faces(names, usable, 45, 1), usable)


def test_a_study_that_goes_on_comes_out_as_an_unbroken_one(folder, monkeypatch):
    torch.set_num_threads(2)
    study(folder, folder / "whole")
    study(folder, folder / "broken", seeds=1)
    with (folder / "broken" / "results.jsonl").open("a") as file:
        file.write('{"faces": 8, "se')  # the machine stopped while it wrote
    trained, run_seed = [], regularisation.run_seed
    monkeypatch.setattr(regularisation, "run_seed", lambda *a: trained.append(a[4]) or run_seed(*a))
    study(folder, folder / "broken")
    study(folder, folder / "broken")
    assert trained == [2] and torch.get_num_threads() == 2
    one, other = (make_report(folder / name)["sizes"][0] for name in ("whole", "broken"))
    assert one.pop("seconds") and other.pop("seconds") and one == other
    assert one["equal"] == 2 and one["seeds"] == [1, 2] and one["held_out"] == 3
    assert one["differences"]["stopped"]["by_seed"] == [0.0, 0.0] != one["differences"]["elastic"]["by_seed"]


def test_other_settings_do_not_mix_and_another_size_may_share_the_folder(folder):
    study(folder, folder / "run", seeds=1)
    with pytest.raises(TrainingError, match="other settings"):
        study(folder, folder / "run", epochs=2)
    study(folder, folder / "run", seeds=1, count=None)
    assert [one["faces"] for one in make_report(folder / "run")["sizes"]] == [8, 11]


def keep(out: Path, seed: int, errors: dict[str, list[float]], **more: object) -> None:
    """A finished seed whose held-out faces are all 40 and off by `errors`, in one exit."""
    arms = {name: errors.get(name, errors["last"]) for name in regularisation.ARMS}
    line = {"faces": 4000, "seed": seed, "equal": True, "seconds": 60.0, "settings": {"epochs": 1, "learning_rate": 0.01, "size": 64, "alpha": 0.25}}  # fmt: skip
    losses = {name: dict.fromkeys(arms, 3.0) for name in ("train_loss", "held_out_loss")}
    estimates = {f"{name}/exit_13": 40 + np.array(e) for name, e in arms.items()}
    save_result(out, line | losses | more, estimates, np.full(len(errors["last"]), 40))


def test_intervals_against_figures_worked_out_by_hand():
    # Mean 2, deviation 1, n 3: t = 4.302653, half width 4.302653 / sqrt(3).
    assert paired_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    # Two seeds that agree, two faces that differ by 0 and 2: means 0, 1 and 2 with shares 1/4, 1/2, 1/4.
    assert crossed_bootstrap([[0.0, 2.0], [0.0, 2.0]]) == (0.0, 2.0)
    assert crossed_bootstrap(np.full((5, 30), -0.25)) == pytest.approx((-0.25, -0.25))
    # Seeds alone vary: the variance of a bootstrap mean is the population's over n.
    seeds = np.random.default_rng(1).normal(size=(200, 1)).repeat(3, axis=1)
    low, high = crossed_bootstrap(seeds)
    assert (high - low) / 2 == pytest.approx(1.96 * seeds[:, 0].std() / np.sqrt(200), rel=0.05)


def test_the_report_pairs_seeds_and_faces(tmp_path):
    keep(tmp_path, 2, {"last": [4.0, -8.0], "elastic": [-3.0, 6.0], "divided": [4.0, 9.0]})
    keep(tmp_path, 1, {"last": [2.0, -2.0], "elastic": [1.0, -1.0], "divided": [2.0, 1.0]})
    size = make_report(tmp_path)["sizes"][0]
    assert size["mae_by_seed"]["last"] == [2.0, 6.0] and size["mae"]["elastic/exit_13"] == pytest.approx(2.75)
    found = size["differences"]["elastic"]
    assert found["by_seed"] == [-1.0, -1.5] and found["mean"] == -1.25
    # t of 95 % and one degree of freedom is 12.7062; half a difference of 0.5 over sqrt(2), times sqrt(2).
    assert found["interval"] == pytest.approx((-1.25 - 12.7062 * 0.25, -1.25 + 12.7062 * 0.25), abs=1e-4)
    assert size["differences"]["divided"]["by_seed"] == [-0.5, 0.5] and size["differences"]["stopped"]["mean"] == 0.0
    text = "\n".join(markdown({"sizes": [size]}))
    assert "| elastic, the paper's loss (1) | 3.000 | 3.000 | 2.750 | -1.250 | -4.427 to +1.927 |" in text
    assert "to the bit in 2 of 2 seeds" in text


@pytest.mark.parametrize(
    ("t", "crossed", "says"),
    [
        ((-0.3, -0.1), (-0.25, -0.05), "better, by 0.200 years of MAE (95 % interval -0.300 to -0.050"),
        ((0.1, 0.3), (0.02, 0.4), "worse, by 0.200 years of MAE (95 % interval +0.020 to +0.400"),
        ((-0.3, -0.1), (-0.4, 0.1), "no difference to the last exit that 5 pairs can show"),
        ((-0.3, 0.1), (-0.3, -0.1), "no difference to the last exit that 5 pairs can show"),
        ((0.0, 0.0), (0.0, 0.0), "to the bit"),
        (None, None, "nothing follows"),
    ],
)
def test_a_claim_needs_both_intervals_on_one_side(t, crossed, says):
    mean = np.sign(t[0] + t[1]) * 0.2 if t else -0.2
    found = {"mean": mean, "interval": t, "interval_seeds_and_faces": crossed}
    assert says in sentence({"faces": 4000, "seeds": [1, 2, 3, 4, 5], "differences": {"elastic": found}}, "elastic")


def test_results_without_their_estimates_are_named(tmp_path):
    assert read_results(tmp_path) == []
    with pytest.raises(DataError, match="no finished seed"):
        make_report(tmp_path)
    keep(tmp_path, 1, {"last": [1.0]})
    (tmp_path / "faces_4000_seed_1.npz").unlink()
    with pytest.raises(DataError, match=r"seed_1.npz is missing or broken"):
        make_report(tmp_path)


def test_report_alone_reads_what_is_there_and_tells_when_arms_were_not_alike(tmp_path, capsys):
    keep(tmp_path, 1, {"last": [1.0, 2.0]})
    assert main(["study", "regularisation", "--out", str(tmp_path), "--report"]) == 0
    assert "4,000 training faces" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["sizes"][0]["differences"]["elastic"]["interval"] is None
    keep(tmp_path, 2, {"last": [1.0, 2.0]}, equal=False)
    assert main(["study", "regularisation", "--out", str(tmp_path), "--report"]) != 0
    assert "do not trust" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--train-faces", "0"], "--train-faces"),
        (["--train-faces", "some"], "--train-faces"),
        (["--train-faces", "500"], "there are 11"),
        (["--seeds", "0"], "--seeds"),
        (["--epochs", "0"], "--epochs"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--size", "8"], "--size"),
        (["--train-faces", "all", "--initial", "absent.npz"], "absent.npz"),
        (["--faces", "absent"], "prepare"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(folder, monkeypatch, capsys, given, says):
    monkeypatch.setattr(regularisation, "train_seed", lambda *_: pytest.fail("it trained"))
    assert main(["study", "regularisation", "--faces", str(folder), "--out", str(folder / "run"), *given]) != 0
    assert says in capsys.readouterr().err


def test_faces_are_needed_to_train(tmp_path, capsys):
    assert main(["study", "regularisation", "--out", str(tmp_path)]) == 2
    assert "--faces" in capsys.readouterr().err


def test_another_network_and_set_and_fewer_arms(folder, monkeypatch):
    """ResNet50 has its eight exits; the set's own means of guesses are what is judged by; what was not trained is not reported."""
    labels = dict(np.load(folder / "utkface.labels.npz"))
    age_mean = labels["age"] + np.float32(0.25)
    np.savez(folder / "mine.labels.npz", **labels, age_mean=age_mean, age_std=np.ones(15, np.float32))
    (folder / "mine.npy").write_bytes((folder / "utkface.npy").read_bytes())
    recipe = Recipe(
        epochs=1, size=32, batch=4, backbone="resnet50", options={}, dataset="mine", arms=("last", "elastic")
    )
    run_study(folder, None, folder / "run", count=4, seeds=1, recipe=recipe)
    [size] = make_report(folder / "run")["sizes"]
    assert (
        size["equal"] is None
        and set(size["differences"]) == {"elastic"}
        and set(size["mae_by_seed"]) == {"last", "elastic"}
    )
    assert [k for k in size["mae"] if k.startswith("elastic")] == [f"elastic/exit_{k:02d}" for k in range(9, 17)]
    np.testing.assert_allclose(np.load(folder / "run" / "faces_4_seed_1.npz")["age"] % 1, 0.25)
    assert "32 px, resnet50, mine;" in "\n".join(markdown({"sizes": [size]}))
    with pytest.raises(TrainingError, match="75 px"):
        Recipe(backbone="inception_v3", options={}).network()
    with pytest.raises(TrainingError, match="arms"):
        Recipe(arms=("elastic", "divided"))
