import pytest
import torch

from analyze.features.logits import SEQUENCES, Readout, promoted
from tests.models import FAMILIES, save_model
from winnow.config.experiment import ModelSettings
from winnow.model.language_model import LanguageModel, open_model

TOKENS = torch.arange(2 * SEQUENCES * 16).view(-1, 16) * 7 % 4096


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model of each family, whose normalisations do something."""
    model = open_model(
        ModelSettings(name=str(save_model(request.param, tmp_path_factory.mktemp("model"))), device="cpu")
    )
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.plain.named_parameters():
        if "norm" in name or "ln_" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def directions(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(2))


def reference(model: LanguageModel, residual: torch.Tensor) -> torch.Tensor:
    """Write the fold of the final normalisation out by hand, in float64."""
    [seen] = model.activations(TOKENS[:SEQUENCES], ["ln_final.hook_in"]).values()
    weight, seen, residual = model.bridge.ln_final.original_component.weight.double(), seen.double(), residual.double()
    if model.bridge.cfg.normalization_type == "LN":
        seen, residual = (x - x.mean(-1, keepdim=True) for x in (seen, residual))
    scale = (1 / seen.square().mean(-1).sqrt()).mean()
    logits = (residual * weight * scale) @ model.plain.get_output_embeddings().weight.double().T  # type: ignore
    return logits - logits.mean(1, keepdim=True)


def test_directions_in_the_residual_stream_reach_the_logits_as_written_by_hand(model: LanguageModel):
    d = directions(5, 32)
    expected = reference(model, d)
    for hook in ("blocks.1.hook_resid_pre", "blocks.1.hook_resid_post", "blocks.1.hook_mlp_out", "blocks.0.hook_out"):
        readout = Readout.of(model, hook, TOKENS)
        torch.testing.assert_close(readout.logits(d).double(), expected, rtol=1e-4, atol=1e-5)


def test_neurons_and_heads_go_through_the_output_matrix(model: LanguageModel):
    block = model.bridge.blocks[1]
    for hook, out in (("blocks.1.mlp.hook_post", block.mlp.out), ("blocks.1.attn.hook_z", block.attn.o)):
        module = out.original_component
        weight = module.weight if "Conv1D" in type(module).__name__ else module.weight.T  # [hook's width, d_model]
        d = directions(3, weight.shape[0])
        readout = Readout.of(model, hook, TOKENS)
        assert "output matrix" in readout.words
        torch.testing.assert_close(readout.logits(d).double(), reference(model, d @ weight), rtol=1e-4, atol=1e-5)


def test_the_effect_is_what_the_model_itself_does_at_the_last_layer(model: LanguageModel):
    """Adding a little of a direction to the last residual moves the logits along the readout, where 1/std is fixed."""
    hook = "blocks.2.hook_resid_post"
    readout = Readout.of(model, hook, TOKENS)
    tokens = TOKENS[:SEQUENCES]
    d = directions(1, 32)[0]
    [seen] = model.activations(tokens, [hook]).values()
    # orthogonal to the (centred) residual, to first order the scale stays as it is
    base = seen - seen.mean(-1, keepdim=True) if model.bridge.cfg.normalization_type == "LN" else seen
    d = d - (d @ base[0, 3]) / base[0, 3].square().sum() * base[0, 3]
    moved = model.logits(tokens, (hook, lambda x: x + 1e-3 * d)) - model.logits(tokens)
    change = (moved[0, 3] - moved[0, 3].mean()) / 1e-3
    expected = readout.logits(d[None])[0]
    assert torch.nn.functional.cosine_similarity(change, expected, dim=0) > 0.999


@pytest.mark.parametrize("hook", ["blocks.1.mlp.hook_pre", "blocks.1.attn.hook_q", "blocks.1.ln2.hook_out"])
def test_without_a_linear_path_it_says_so(model: LanguageModel, hook: str):
    readout = Readout.of(model, hook, TOKENS)
    assert "not written to the residual stream" in readout.words
    assert promoted(readout, directions(3, 32)) is None
    with pytest.raises(ValueError, match="no logits"):
        readout.logits(directions(3, 32))


def test_promoted_and_suppressed_are_the_ends_of_the_logits(model: LanguageModel):
    readout = Readout.of(model, "blocks.1.hook_resid_post", TOKENS)
    d = directions(7, 32)
    found = promoted(readout, d, d_vocab=100)
    assert found is not None
    order = readout.logits(d)[:, :100].argsort(1, descending=True)
    assert torch.equal(found.tokens, order[:, :10])
    assert torch.equal(found.suppressed_tokens, order.flip(1)[:, :10])
    assert (found.effects.diff() <= 0).all()
    assert (found.suppressed_effects.diff() >= 0).all()
