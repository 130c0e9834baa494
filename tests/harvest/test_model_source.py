"""What a harvest takes from models of several kinds, and which it refuses."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import winnow
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from tests.models import save_model
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.model.language_model import open_model


def tokenised(folder: Path, family: str, *hooks: str) -> Experiment:
    path = write_config(folder, save_model(family, folder / "model"), harvest={"hooks": list(hooks)})
    make_tokens(load(path))
    return load(path)


def test_a_harvest_of_opt_holds_what_a_hook_of_torch_gives(tmp_path: Path):
    experiment = tokenised(tmp_path, "opt", "blocks.*.mlp.hook_post", "blocks.1.hook_mlp_out")
    harvest(experiment)
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    assert store.hooks == {
        "blocks.1.hook_mlp_out": 32,
        **{f"blocks.{layer}.mlp.hook_post": 96 for layer in range(3)},
    }
    with h5py.File(tmp_path / "run" / "tokens.h5") as file:
        tokens = torch.from_numpy(np.asarray(file["tokens"]))[:36].long()
    plain = open_model(experiment.model).plain
    seen = {}
    plain.get_submodule("model.decoder.layers.1.fc2").register_forward_hook(
        lambda _, args, output: seen.update({"blocks.1.mlp.hook_post": args[0], "blocks.1.hook_mlp_out": output})
    )
    with torch.no_grad():
        plain(tokens)
    for hook, expected in seen.items():
        assert expected.shape == (36 * 16, store.hooks[hook])
        torch.testing.assert_close(store.read(hook, 0, store.rows), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "hook", "said"),
    [
        ("bert", "blocks.1.hook_resid_post", r"model\.name = .*: what BertLMHeadModel computes at a token depends on"),
        ("mixtral", "blocks.*.mlp.hook_post", r"harvest\.hooks: .* no neurons that every token uses \(a mixture of"),
        ("gpt2", "blocks.0.hook_mlp_in", r"harvest\.hooks: blocks\.0\.hook_mlp_in: TransformerLens computes it only"),
    ],
)
def test_what_cannot_be_harvested_is_refused_before_a_shard_is_begun(tmp_path: Path, family: str, hook: str, said: str):
    experiment = tokenised(tmp_path, family, hook)
    with pytest.raises(UserError, match=said):
        harvest(experiment)
    assert list((tmp_path / "run" / "activations").iterdir()) == []


def test_a_glob_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    experiment = tokenised(tmp_path, "gpt2", "blocks.0.hook_*")
    harvest(experiment)
    assert (
        "harvest.hooks: blocks.0.hook_* leaves out blocks.0.hook_mlp_in and 4 more: TransformerLens computes it "
        in (capsys.readouterr().err)
    )
    hooks = winnow.ActivationStore(tmp_path / "run" / "activations").hooks
    assert {"blocks.0.hook_resid_pre", "blocks.0.hook_mlp_out"} < set(hooks)
    assert "blocks.0.hook_mlp_in" not in hooks
    harvest(experiment)  # what is finished opens no model, so it has nothing to leave out
    assert "leaves out" not in capsys.readouterr().err
