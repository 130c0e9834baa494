"""The MLPs of the families against their own hooks, and with a wrong gate, weight or norm planted."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, OPTConfig

from tests.models import EMBEDDED, FAMILIES, save_model
from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model import mlp as reading
from winnow.model.language_model import LanguageModel, open_model
from winnow.model.mlp import read_mlp, residual_hook
from winnow.spline.gates import find_gate

EXPECTED = {  # gate, neurons, norm
    "embedded": ("gelu_new", 512, "layer"),
    "gpt2": ("gelu_new", 128, "layer"),
    "neox": ("gelu", 128, "layer"),
    "llama": ("silu", 96, "rms"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    folders = {family: save_model(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}
    return {name: open_model(ModelSettings(name=str(path))) for name, path in {**folders, "embedded": EMBEDDED}.items()}


def values(model: LanguageModel, layer: int, *points: str) -> list[Tensor]:
    tokens = torch.randint(0, model.d_vocab, (2, 16), generator=torch.Generator().manual_seed(1))
    names = [f"blocks.{layer}.{point}" for point in points]
    seen = model.activations(tokens, names)
    return [seen[name].flatten(0, 1) for name in names]


@pytest.mark.parametrize("name", EXPECTED)
def test_an_mlp_gives_what_the_hooks_give(models: dict[str, LanguageModel], name: str):
    model = models[name]
    gate, n, norm = EXPECTED[name]
    for layer in (0, 2):
        mlp = read_mlp(model, layer)
        assert (mlp.gate.name, mlp.n, mlp.is_gated) == (gate, n, name == "llama")
        u, h, a, y = values(model, layer, "mlp.hook_in", "mlp.hook_pre", "mlp.hook_post", "hook_mlp_out")
        for found, expected in ((mlp.pre(u), h), (mlp.post(u), a), (mlp(u), y)):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert mlp.norm is not None
        assert mlp.norm.kind == norm
        (residual,) = values(model, layer, residual_hook(model, layer).removeprefix(f"blocks.{layer}."))
        torch.testing.assert_close(mlp.read(residual), u, rtol=1e-4, atol=1e-5)
        assert mlp.name == f"blocks.{layer}"
    assert residual_hook(model, 1) == ("blocks.1.hook_resid_pre" if name == "neox" else "blocks.1.hook_resid_mid")


def test_weights_are_shared_and_read_once(models: dict[str, LanguageModel]):
    mlp = read_mlp(models["gpt2"], 1)
    assert read_mlp(models["gpt2"], 1) is mlp
    weight = models["gpt2"].plain.get_submodule("transformer.h.1.mlp.c_fc").weight
    assert mlp.W_in.data_ptr() == weight.data_ptr()  # type: ignore[operator]


@pytest.fixture
def fresh(models: dict[str, LanguageModel], monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """The random GPT-2, none of whose layers has been read."""
    monkeypatch.setattr(reading, "_read", type(reading._read)())
    return models["gpt2"]


@pytest.mark.parametrize("wrong", ["gelu", "quick_gelu", "relu", "silu"])
def test_a_wrong_gate_is_noticed_though_small_pre_activations_hide_it(
    fresh: LanguageModel, wrong: str, monkeypatch: pytest.MonkeyPatch
):
    (h,) = values(fresh, 1, "mlp.hook_pre")
    if wrong == "gelu":  # what tokens show does not tell the two apart
        assert (find_gate("gelu")(h) - find_gate("gelu_new")(h)).abs().max() < reading.TOLERANCE
    monkeypatch.setattr(reading, "find_gate", lambda name: find_gate(wrong))
    said = rf"blocks\.1: g\(h\) differs from mlp\.hook_post by .*; gate {wrong} was read from the config"
    with pytest.raises(UserError, match=said):
        read_mlp(fresh, 1)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("mlp.hook_pre", r"blocks\.1: u W_in \+ b_in differs from mlp\.hook_pre"),
        ("mlp.hook_post", r"blocks\.1: a W_out \+ b_out differs from hook_mlp_out"),
    ],
)
def test_a_wrong_weight_is_noticed(fresh: LanguageModel, point: str, said: str, monkeypatch: pytest.MonkeyPatch):
    affine = reading._Reader._affine

    def changed(self: reading._Reader, at: str, side: str) -> tuple[Tensor, Tensor]:
        W, b = affine(self, at, side)
        return (W * 1.1, b) if at == point else (W, b)

    monkeypatch.setattr(reading._Reader, "_affine", changed)
    with pytest.raises(UserError, match=said):
        read_mlp(fresh, 1)


def test_a_wrong_norm_is_noticed(fresh: LanguageModel, monkeypatch: pytest.MonkeyPatch):
    norm = reading.Norm
    monkeypatch.setattr(reading, "Norm", lambda kind, weight, bias, eps: norm(kind, weight, bias, eps + 0.1))
    with pytest.raises(UserError, match=r"blocks\.1: LayerNorm before the MLP is neither LayerNorm nor RMSNorm"):
        read_mlp(fresh, 1)


def test_a_layer_that_the_model_lacks_is_refused(models: dict[str, LanguageModel]):
    with pytest.raises(UserError, match="layer = 3: the model has layers 0 to 2"):
        read_mlp(models["gpt2"], 3)


def save(config, folder: Path) -> LanguageModel:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    return open_model(ModelSettings(name=str(folder)))


def neox(**changes) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=4096,
        max_position_embeddings=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        **changes,
    )


def test_a_gate_without_polytopes_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="gate tanh: it is not of the form"):
        read_mlp(save(neox(hidden_act="tanh"), tmp_path), 0)


def test_blocks_that_are_not_parallel_and_relu_are_read(tmp_path: Path):
    model = save(neox(hidden_act="relu", use_parallel_residual=False), tmp_path)
    mlp = read_mlp(model, 0)
    assert mlp.gate.is_hard
    u, y = values(model, 0, "mlp.hook_in", "hook_mlp_out")
    torch.testing.assert_close(mlp(u), y, rtol=1e-4, atol=1e-5)


def test_half_precision_is_read_into_single(tmp_path: Path):
    save_model("llama", tmp_path)
    model = open_model(ModelSettings(name=str(tmp_path), dtype="bfloat16"))
    mlp = read_mlp(model, 1)
    assert mlp.W_in.dtype == torch.float32
    u, y = values(model, 1, "mlp.hook_in", "hook_mlp_out")
    assert (mlp(u) - y.float()).abs().max() <= 2e-2 * y.abs().max()


def test_an_mlp_without_a_module_of_its_own_is_refused(tmp_path: Path):
    config = OPTConfig(
        vocab_size=4096,
        hidden_size=32,
        num_hidden_layers=1,
        ffn_dim=64,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
    )
    with pytest.raises(UserError, match=r"blocks\.0\.\S+: "):
        read_mlp(save(config, tmp_path), 0)


def test_a_real_llama_is_read(shared: Path):
    model = open_model(ModelSettings(name=str(shared / "models" / "tinystories-656k")))
    for layer in (0, 1):
        mlp = read_mlp(model, layer)
        assert (mlp.gate.name, mlp.n, mlp.is_gated) == ("silu", 384, True)
        u, y = values(model, layer, "mlp.hook_in", "hook_mlp_out")
        torch.testing.assert_close(mlp(u), y, rtol=1e-4, atol=1e-4)
