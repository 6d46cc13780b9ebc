"""Networks of torchvision and timm from a name to exits in ONNX Runtime; docs/guides/elastify.md has the table of a whole run."""

from __future__ import annotations

import pytest
import torch

from tests.support import zoo

pytestmark = pytest.mark.skipif(zoo.why_absent() is not None, reason=str(zoo.why_absent()))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("entry", zoo.WORK, ids=str)
@pytest.mark.filterwarnings("ignore")  # other people's
def test_a_network_is_trained_exported_and_run(entry):
    row = zoo.try_all(entry)
    assert row["first"] < row["last"] and row["exits"] == row["blocks"] - row["blocks"] // 2


@pytest.mark.parametrize(("entry", "says"), zoo.REFUSED, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_is_refused_before_training(entry, says):
    with pytest.raises(ValueError, match=says):
        zoo.build(entry)
