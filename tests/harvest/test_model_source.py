"""What a harvest takes from models of several kinds, and which it refuses."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import winnow
from data.tokens import make_tokens
from harvest import model_source as harvest_model_source
from harvest.stage import harvest
from tests.experiments import load, write_config
from tests.models import save_model
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.model.language_model import open_model
from winnow.tokens import open_tokens
from winnow.verify import verify


def tokenised(folder: Path, family: str, *hooks: str, **harvest: Any) -> Path:
    path = write_config(folder, save_model(family, folder / "model"), harvest={"hooks": list(hooks), **harvest})
    make_tokens(load(path))
    return path


def test_a_harvest_of_opt_holds_what_a_hook_of_torch_gives(tmp_path: Path):
    experiment = load(tokenised(tmp_path, "opt", "blocks.*.mlp.hook_post", "blocks.1.hook_mlp_out"))
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
    experiment = load(tokenised(tmp_path, family, hook))
    with pytest.raises(UserError, match=said):
        harvest(experiment)
    assert list((tmp_path / "run" / "activations").iterdir()) == []


HOOK = "blocks.1.hook_resid_post"


def scale_weights(folder: Path, factor: float) -> None:
    """Scale both matrices of the MLP in layer 1, the second by `factor`."""
    path = folder / "model" / "model.safetensors"
    weights = load_file(path)
    for name, by in (("c_fc", 100.0), ("c_proj", factor)):
        weight = weights[f"transformer.h.1.mlp.{name}.weight"]
        weight.copy_(weight.double() * by)
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("factor", "dtype", "said"),
    [
        (float("nan"), "float32", r"transformer\.h\.1\.mlp\.c_proj\.weight of .* not finite; get its files again"),
        (float("nan"), "bfloat16", r"transformer\.h\.1\.mlp\.c_proj\.weight of .* not finite; get its files again"),
        (1e50, "float32", r"transformer\.h\.1\.mlp\.c_proj\.weight of .* not finite; get its files again"),
        (
            1e8,
            "float16",
            r"c_proj\.weight of .* too large for model\.dtype = float16; set that to bfloat16 or float32 in",
        ),
        (4e5, "float16", r"model overflows in model\.dtype = float16; set that to bfloat16 or float32 in a new run"),
        (
            2e39,
            "float32",
            r"model overflows there in float32, though its weights are finite; harvest hooks before that",
        ),
    ],
)
def test_a_value_that_is_no_number_says_what_really_helps(tmp_path: Path, factor: float, dtype: str, said: str):
    path = tokenised(tmp_path, "gpt2", "blocks.1.hook_mlp_out")
    scale_weights(tmp_path, factor)
    where = r"blocks\.1\.hook_mlp_out: (nan|-?inf) at sequence \d+, position \d+, dimension \d+, before it is stored: "
    with pytest.raises(UserError, match=where + ".*" + said):
        harvest(load(path, "--model.dtype", dtype))


def without_tokens_of(path: Path, sequences: slice) -> Experiment:
    """Let the policy drop every token that these sequences hold."""
    tokens = open_tokens(Path(load(path).run) / "tokens.h5")
    dropped = np.unique(tokens.read(0, tokens.sequences)[sequences]).tolist()
    return load(path, "--harvest.positions", json.dumps({"drop_tokens": dropped}))


@pytest.mark.parametrize(
    ("sequences", "said"), [(slice(None), "the 36 harvested sequences"), (slice(36, 40), "the 4 held-out sequences")]
)
def test_dropping_every_position_is_refused_before_the_model_is_opened(
    tmp_path: Path, sequences: slice, said: str, monkeypatch: pytest.MonkeyPatch
):
    experiment = without_tokens_of(tokenised(tmp_path, "gpt2", HOOK), sequences)
    monkeypatch.setattr(harvest_model_source, "open_model", None)
    with pytest.raises(
        UserError, match=rf"harvest\.positions: drop_tokens and skip_first leave no position of {said} in"
    ):
        harvest(experiment)


def test_a_shard_without_a_kept_position_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    experiment = without_tokens_of(tokenised(tmp_path, "gpt2", HOOK, rows_per_shard=16), slice(2))
    harvest(experiment)
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    sizes = [json.loads(sidecar.read_text())["rows"] for sidecar in sorted(store.path.glob("shard-*.json"))]
    assert sizes[:2] == [0, 0]
    assert store.rows == sum(sizes) > 0
    assert store.read(HOOK, 0, store.rows).shape == (store.rows, 32)
    store.verify()
    verify(experiment)
    capsys.readouterr()
    harvest(experiment)
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_a_glob_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    experiment = load(tokenised(tmp_path, "gpt2", "blocks.0.hook_*"))
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
