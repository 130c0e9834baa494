"""Dictionaries that winnow's trainer made open with SAELens, and do the same there."""

# pyright: reportMissingImports=false

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from transformer_lens.loading_from_pretrained import get_official_model_name

import winnow
from tests.interop.agreement import TOLERANCE, assert_agrees
from tests.stores import planted
from tests.train.experiments import HOOK, load, write_run
from train.provenance import metadata
from train.stage import train
from winnow.dictionary import Dictionary, save_dictionary
from winnow.formats.saelens import describe

GRID: list[dict[str, Any]] = [
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 2.0},
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 2.0, "tied": True},
    {"architecture": "topk", "n_latents": 48, "k": 4},
    {"architecture": "batchtopk", "n_latents": 48, "k": 4},
    {"architecture": "jumprelu", "n_latents": 48, "l0_coefficient": 0.2},
    {"architecture": "gated", "n_latents": 48, "l1_coefficient": 2.0},
    {"architecture": "matryoshka", "n_latents": 48, "k": 4},
]
THEIRS = {"relu": "standard", "topk": "topk", "gated": "gated"}  # the others are jumprelu once trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Dictionary]:
    folder = tmp_path_factory.mktemp("trained")
    train(load(write_run(folder, GRID)))
    return winnow.load_dictionaries(folder / "run")


def test_every_architecture_was_trained_on_scaled_rows(trained: list[Dictionary]) -> None:
    assert sorted(d.architecture for d in trained) == sorted(grid["architecture"] for grid in GRID)
    for d in trained:
        assert abs(d.provenance["folded_scale"] - 1) > 0.2
        assert d.b_dec.abs().max() > 0.05
        assert d.W_enc.T.ne(d.W_dec).any() != d.provenance["settings"].get("tied", False)


@pytest.mark.parametrize("number", range(len(GRID)))
@pytest.mark.parametrize("shape", [(200,), (5, 8), ()], ids=["rows", "sequences", "row"])
def test_saelens_computes_the_same(trained: list[Dictionary], number: int, shape: tuple[int, ...]) -> None:
    d = trained[number]
    assert d.path
    sae = SAE.load_from_disk(d.path)
    assert sae.cfg.architecture() == THEIRS.get(d.architecture, "jumprelu")
    rows = planted(200, 16, 40, 3)[0]
    rows = rows[rows.norm(dim=1).argsort(descending=True)]  # that a single one has active latents
    x = rows[: torch.Size(shape).numel()].reshape(*shape, 16)
    assert_agrees(d, sae.encode, sae.decode, x)


@pytest.mark.parametrize("number", range(len(GRID)))
def test_saelens_forwards_and_saves_it_and_we_read_that(trained: list[Dictionary], number: int, tmp_path: Path) -> None:
    d = trained[number]
    assert d.path
    sae = SAE.load_from_disk(d.path)
    x = planted(200, 16, 40, 3)[0]
    torch.testing.assert_close(sae(x), d(x), rtol=TOLERANCE, atol=TOLERANCE)
    sae.save_model(tmp_path)
    again = winnow.load_dictionary(tmp_path)
    assert (again.architecture, again.k, again.hook) == (d.architecture, d.k, d.hook)
    assert torch.equal(again.encode(x), d.encode(x))


def test_attention_heads_are_flattened_as_saelens_flattens_them(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in ((12, 20), (20,), (20, 12), (12,))]
    d = Dictionary(*weights, hook="blocks.0.attn.hook_z")
    save_dictionary(d, tmp_path, {}, {})
    sae = SAE.load_from_disk(tmp_path)
    z = torch.randn(7, 5, 3, 4, generator=generator)  # sequence, position, head, d_head
    torch.testing.assert_close(sae.encode(z), d.encode(z.flatten(2)), rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(sae(z).flatten(2), d(z.flatten(2)), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["openai-community/gpt2", "openai-community/gpt2-xl", "distilbert/distilgpt2", "gpt2"])
def test_a_model_has_the_name_by_which_transformer_lens_3_knows_it(name: str) -> None:
    written = describe("relu", "relu", 2, 3, None, {"model_name": name})["metadata"]["model_name"]
    assert get_official_model_name(written)


def test_metadata_says_what_an_evaluation_needs(tmp_path: Path) -> None:
    write_run(tmp_path, GRID[:1])
    path = tmp_path / "run" / "activations" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest |= {"text": "hub:someone/some-text", "positions": {"skip_first": 2, "drop_tokens": [5]}}
    manifest["model"] |= {"name": "openai-community/gpt2", "revision": "v2", "dtype": "bfloat16"}
    path.write_text(json.dumps(manifest))
    said = metadata(winnow.ActivationStore(path.parent))
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator) for shape in ((4, 6), (6,), (6, 4), (4,))]
    save_dictionary(Dictionary(*weights, hook=HOOK), tmp_path / "d", said, {})
    found = SAE.load_from_disk(tmp_path / "d").cfg.metadata
    assert found.model_name == "gpt2"
    assert found.model_class_name == "HookedTransformer"
    assert found.model_from_pretrained_kwargs == {"revision": "v2", "dtype": "bfloat16"}
    assert (found.hook_name, found.hook_head_index) == (HOOK, None)
    assert (found.context_size, found.prepend_bos) == (16, True)
    assert list(range(16))[slice(*found.seqpos_slice)] == list(range(2, 16))
    assert found.exclude_special_tokens == [5]
    assert found.dataset_path == "someone/some-text"
