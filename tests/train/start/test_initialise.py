from pathlib import Path

import pytest
import torch
from torch import Tensor

import winnow
from tests.models import save_model
from tests.train.experiments import HOOK, load, write_run
from train.stage import train
from train.start.centre import geometric_median
from train.start.initialise import INITIALISATIONS, first_directions
from winnow.config.experiment import Dictionaries, ModelSettings
from winnow.errors import UserError
from winnow.model.language_model import open_model
from winnow.model.output_weights import output_weights

D = 8


def sample() -> Tensor:
    """Activations that vary by far the most along the first axis."""
    x = torch.randn(500, D, generator=torch.Generator().manual_seed(4)) * 0.1
    x[:, 0] *= 50
    return x


def directions(name: str, n: int, seed: int = 0) -> Tensor:
    return first_directions(name, n, D, seed, sample, lambda: torch.diag(torch.arange(1.0, D + 1)))


@pytest.mark.parametrize("name", INITIALISATIONS)
@pytest.mark.parametrize("n", [5, 8, 40])
def test_directions_have_unit_norm_and_follow_the_seed(name: str, n: int) -> None:
    found = directions(name, n)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(n))
    assert torch.equal(found, directions(name, n))
    if name != "pca" or n > 2 * D:
        assert not torch.equal(found, directions(name, n, seed=1))
    assert len(found.unique(dim=0)) == n


def test_sizes_of_one_seed_share_no_direction() -> None:
    cosines = directions("random", 8) @ directions("random", 16).T
    assert cosines.max() < 0.999


def test_orthogonal_is_a_tight_frame() -> None:
    frame = directions("orthogonal", 3 * D)
    torch.testing.assert_close(frame.T @ frame, 3 * torch.eye(D), rtol=1e-5, atol=1e-5)


def test_pca_starts_along_the_largest_variance_both_ways() -> None:
    first = directions("pca", 40)[:2]
    assert first[0, 0].abs() > 0.99
    torch.testing.assert_close(first[1], -first[0])


def test_basis_stays_near_the_axes() -> None:
    found = directions("basis", 2 * D)
    assert (found[:D].diagonal() > 0.7).all()
    assert (found[D:].diagonal() < -0.7).all()


def test_kmeans_finds_planted_centres() -> None:
    centres = torch.eye(D)[:4] * 3
    rows = centres.repeat_interleave(50, 0) + 0.05 * torch.randn(200, D, generator=torch.Generator().manual_seed(1))
    found = first_directions("kmeans", 32, D, 0, lambda: rows)
    assert ((found @ torch.eye(D)[:4].T).amax(0) > 0.99).all()


def test_configuration_knows_every_name() -> None:
    known = Dictionaries.model_json_schema()["properties"]["initialisation"]["items"]["enum"]
    assert known == list(INITIALISATIONS)


def test_initialisation_is_part_of_the_name_and_trains(tmp_path: Path) -> None:
    grid = {"architecture": "topk", "n_latents": 24, "k": 3, "initialisation": "kmeans"}
    train(load(write_run(tmp_path, [grid], rows=500)))
    (d,) = winnow.load_dictionaries(tmp_path / "run")
    assert d.path is not None
    assert d.path.name == "topk-24-k3-kmeans-seed0"


@pytest.mark.parametrize("n", [4, 16, 40])
def test_singular_starts_along_what_the_layer_writes(n: int) -> None:
    """W = U S Vᵀ with known U: directions lie near its columns in the order of S, both ways, again and again."""
    generator = torch.Generator().manual_seed(3)
    U, V = (torch.linalg.qr(torch.randn(D, D, generator=generator)).Q for _ in range(2))
    S = torch.arange(D, 0, -1.0) ** 2
    found = first_directions("singular", n, D, 0, sample, lambda: U * S @ V[:, :D].T)
    cosines = found @ U
    near = cosines.abs().argmax(1)
    assert near.tolist() == [i // 2 % D for i in range(n)]
    largest = cosines[torch.arange(n), near]
    assert (largest.abs() > 0.65).all()
    assert (largest[::2].sign() == -largest[1::2].sign()).all()
    assert len(found.unique(dim=0)) == n
    torch.testing.assert_close(found.norm(dim=1), torch.ones(n))


def test_singular_initialisation_reads_the_model(gpt2: Path) -> None:
    settings = ModelSettings(name=str(gpt2), device="cpu")
    model = open_model(settings)
    state = model.plain.state_dict()

    def weights(hook: str) -> Tensor:
        return output_weights(settings, {"weights_sha256": model.weight_hash}, gpt2, hook)

    mlp = [state[f"transformer.h.{layer}.mlp.c_proj.weight"].T for layer in range(3)]
    attention = state["transformer.h.1.attn.c_proj.weight"].T
    assert torch.equal(weights("blocks.1.hook_mlp_out"), mlp[1])
    assert torch.equal(weights("blocks.1.hook_resid_post"), mlp[1])
    assert torch.equal(weights("blocks.1.hook_resid_pre"), mlp[0])
    assert torch.equal(weights("blocks.1.hook_attn_out"), attention)
    assert torch.equal(weights("blocks.1.hook_resid_mid"), attention)
    assert torch.equal(weights("blocks.1.mlp.hook_pre"), state["transformer.h.1.mlp.c_fc.weight"].T)


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_output_weights_give_what_the_hook_sees(family: str, tmp_path: Path) -> None:
    """The activations' variation lies in the matrix' image: W h + b for the h that the model has."""
    settings = ModelSettings(name=str(save_model(family, tmp_path)), device="cpu")
    model = open_model(settings)
    tokens = torch.arange(32)[None] + 7
    hooks = {"blocks.1.hook_mlp_out": "blocks.1.mlp.out.hook_in", "blocks.1.hook_attn_out": "blocks.1.attn.o.hook_in"}
    for hook, before in hooks.items():
        seen = model.activations(tokens, [before, hook])
        W = output_weights(settings, {"weights_sha256": model.weight_hash}, tmp_path, hook)
        y, h = seen[hook][0], seen[before][0]
        torch.testing.assert_close(y - y[0], (h - h[0]) @ W.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hook", ["blocks.1.mlp.hook_post", "blocks.0.hook_resid_pre", "hook_embed"])
def test_hook_without_output_weights_names_those_that_have(hook: str, gpt2: Path) -> None:
    with pytest.raises(UserError, match=rf"no weight matrix writes {hook}; it works at hook_mlp_out, .*hook_pre"):
        output_weights(ModelSettings(name=str(gpt2)), {}, gpt2, hook)


def test_singular_initialisation_refuses_another_model(gpt2: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was made with weights_sha256 of the model = 'other'"):
        output_weights(
            ModelSettings(name=str(gpt2), device="cpu"), {"weights_sha256": "other"}, tmp_path, "blocks.1.hook_mlp_out"
        )


def test_geometric_median_is_where_unit_pulls_cancel() -> None:
    x = torch.randn(301, D, generator=torch.Generator().manual_seed(5))
    x[:100] += 50  # a third far away: the mean goes along, the median hardly
    median = geometric_median(x)
    pulls = torch.nn.functional.normalize(x.double() - median, dim=1).sum(0)
    assert pulls.norm() < 1e-3
    assert median.norm() < 5
    assert x.mean(0).norm() > 40


def test_geometric_median_may_be_a_row() -> None:
    x = torch.cat([torch.eye(3), -torch.eye(3), torch.zeros(1, 3)])
    torch.testing.assert_close(geometric_median(x), torch.zeros(3).double())
    heavy = torch.cat([torch.zeros(5, 3), torch.ones(2, 3)])  # more than half of the rows decide
    assert geometric_median(heavy).norm() < 1e-3
    assert torch.equal(geometric_median(torch.ones(4, 2)), torch.ones(2).double())


def test_b_dec_starts_where_the_settings_say(tmp_path: Path) -> None:
    grids = [{"architecture": "topk", "n_latents": 24, "k": 3, "learning_rate": 1e-12}]
    train(load(write_run(tmp_path, [*grids, {**grids[0], "b_dec": "geometric_median"}], rows=500)))
    found = {d.path.name: d for d in winnow.load_dictionaries(tmp_path / "run") if d.path}
    mean = found["topk-24-k3-lr1e-12-seed0"]
    median = found["topk-24-k3-lr1e-12-geometric_median-seed0"]
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    x = store.read(HOOK, 0, store.rows)
    torch.testing.assert_close(mean.b_dec, x.mean(0), rtol=1e-4, atol=1e-4)
    # of all but the held-out rows, one in 100
    torch.testing.assert_close(median.b_dec, geometric_median(x).float(), rtol=0.01, atol=0.01)
    assert (median.b_dec - mean.b_dec).norm() > 0.05
