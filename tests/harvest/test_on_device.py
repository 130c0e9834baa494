"""A whole harvest whose rows are counted where they are computed, with the CPU in the place of a GPU."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import harvest.make_shards as harvest_make_shards
import winnow
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from winnow.runtime.device import to_device
from winnow.verify import verify

pytestmark = pytest.mark.usefixtures("two_threads")


def test_it_stores_the_same_rows_and_its_bytes_are_the_same_twice(
    tmp_path: Path, gpt2: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_config(tmp_path, gpt2, harvest={"hooks": ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"]})
    make_tokens(load(path))
    stores, sums = {}, {}
    for name in ("here", "there", "again"):
        if name != "here":
            counted_there = partial(harvest_make_shards.make_missing, count_on_device=True)
            monkeypatch.setattr(harvest_make_shards, "make_missing", counted_there)
        config = load(path, "--run", str(tmp_path / name), "--harvest.positions", '{"random": 5}')
        Path(config.run).mkdir()
        (Path(config.run) / "tokens.h5").write_bytes((tmp_path / "run" / "tokens.h5").read_bytes())
        harvest(config)
        verify(config)
        stores[name] = winnow.ActivationStore(Path(config.run) / "activations")
        sums[name] = [p.read_bytes() for p in sorted(stores[name].path.glob("shard-*"))]
        monkeypatch.undo()
    assert sums["there"] == sums["again"]
    assert len(sums["there"]) == 2 * stores["here"].shards
    for hook in stores["here"].hooks:
        here, there = (stores[name].read(hook, 0, stores[name].rows) for name in ("here", "there"))
        assert torch.equal(there, here)
        one, two = (stores[name].statistics(hook) for name in ("here", "there"))
        for field in ("mean", "m2", "m3", "m4", "norm_sum"):
            np.testing.assert_allclose(getattr(two, field), getattr(one, field), rtol=1e-5, atol=1e-9, err_msg=field)
        np.testing.assert_array_equal(two.histogram, one.histogram)


def test_to_device_leaves_what_is_there():
    x = torch.ones(3)
    assert to_device(x, torch.device("cpu")) is x
