"""The lens as a notebook uses it: on language models, layers and plain networks, and what it says to wrong shapes."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import winnow
from tests.models import EMBEDDED, FAMILIES, save_model
from tests.winnow.spline.planted import bit_changes, draw, make_mlp, make_network
from winnow.config.experiment import ModelSettings
from winnow.errors import UserError
from winnow.model.language_model import LanguageModel, open_model
from winnow.model.mlp import residual_hook

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["embedded", *FAMILIES])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    family = request.param
    folder = EMBEDDED if family == "embedded" else save_model(family, tmp_path_factory.mktemp(family))
    return open_model(ModelSettings(name=str(folder)))


def values(model: LanguageModel, *hooks: str) -> list[Tensor]:
    tokens = torch.randint(0, model.d_vocab, (2, 16), generator=torch.Generator().manual_seed(1))
    seen = model.activations(tokens, hooks)
    return [seen[name] for name in hooks]


def test_codes_of_a_language_model_are_those_of_its_hooks(model: LanguageModel):
    residual, u, h, a = values(
        model, residual_hook(model, 1), *(f"blocks.1.mlp.{point}" for point in ("hook_in", "hook_pre", "hook_post"))
    )
    hard = winnow.spline_code(model, 1, u, sharpness=math.inf)
    assert hard.shape == h.shape
    assert ((hard > 0) != (h > 0)).double().mean() < 1e-3  # where h is 0 up to rounding
    soft = winnow.spline_code(model, 1, u)
    if "mlp.hook_pre_linear" not in " ".join(model.hooks):
        torch.testing.assert_close(soft * h, a, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(winnow.spline_code(model, 1, residual, before_norm=True), soft, rtol=1e-4, atol=1e-4)


def test_the_affine_map_of_a_language_model_gives_its_mlp(model: LanguageModel):
    u, y = values(model, "blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out")
    if "blocks.1.mlp.hook_pre_linear" in model.hooks:
        with pytest.raises(UserError, match=r"blocks\.1: maps are quadratic given the code"):
            winnow.affine_map(model, 1, u)
    else:
        there = winnow.affine_map(model, 1, u[0, 3])
        torch.testing.assert_close(u[0, 3] @ there.A + there.c, y[0, 3], rtol=1e-4, atol=1e-4)
    tangent = winnow.affine_map(model, 1, u[0, :2], kind="tangent")
    torch.testing.assert_close(tangent(u[0, :2]), y[0, :2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("before_norm", [False, True])
def test_crossings_of_a_language_model_by_dense_sampling(model: LanguageModel, before_norm: bool):
    (rows,) = values(model, residual_hook(model, 2) if before_norm else "blocks.2.mlp.hook_in")
    a, b = rows[0, 4:6].double(), rows[1, 9:11].double()
    found = winnow.crossings(a, b, model, 2, before_norm=before_norm)
    assert len(found) > 20
    from winnow.model.mlp import read_mlp

    mlp = read_mlp(model, 2).to(torch.float64)
    for line in range(2):

        def on(t: Tensor, line: int = line) -> Tensor:
            x = a[line] + t[:, None] * (b - a)[line]
            return mlp.pre(mlp.read(x) if before_norm else x) > 0

        counted = torch.bincount(found.neuron[found.line == line], minlength=mlp.n)
        assert torch.equal(counted, bit_changes(on))
    torch.testing.assert_close(found.density()[:, 0], found.counts()[:, 0] / (b - a).norm(dim=1))


def test_a_network_is_seen_as_a_whole_and_by_layers():
    network, x = make_network("relu", (5, 9, 8, 3)), draw(4, 5)
    codes = winnow.spline_code(network, None, x)
    assert codes.shape == (4, 17)
    assert torch.equal(codes, torch.cat([winnow.spline_code(network, layer, x) for layer in (0, 1)], 1))
    torch.testing.assert_close(winnow.affine_map(network, None, x)(x), network(x))
    first = network.gate(network.pre(x)[0])
    torch.testing.assert_close(winnow.affine_map(network, 1, x)(first), network(x))
    torch.testing.assert_close(winnow.affine_map(network, 0, x)(x), network.pre(x)[1])
    whole = winnow.crossings(x, 3 * draw(4, 5, seed=5), network)
    parts = [winnow.crossings(x, 3 * draw(4, 5, seed=5), network, layer) for layer in (0, 1)]
    assert torch.equal(whole.counts(), torch.cat([part.counts() for part in parts], 1))
    assert whole.counts().sum() > 10


def test_torch_modules_and_single_layers_are_taken_as_they_are():
    modules = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    x = draw(2, 3).float()
    there = winnow.affine_map(modules, None, x)
    torch.testing.assert_close(there(x), modules(x).detach())
    mlp = make_mlp("gelu")
    u = draw(2, 7)
    torch.testing.assert_close(winnow.spline_code(mlp, None, u), torch.special.ndtr(u @ mlp.W_in + mlp.b_in))
    assert len(winnow.crossings(u[:1], u[1:], mlp)) > 3


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: winnow.spline_code(make_mlp("relu"), 0, draw(7)), "layer = 0: an MLP is one layer; leave it out"),
        (lambda: winnow.spline_code(make_mlp("relu"), None, draw(2, 6)), r"rows must be 7 wide, .* shape \[2, 6\]"),
        (lambda: winnow.spline_code(make_network("relu", (2, 3, 1)), 1, draw(2)), "has hidden layers 0 to 0"),
        (lambda: winnow.affine_map(make_network("relu", (2, 3, 1)), 0, draw(3)), "layer 0: rows must be 2 wide"),
        (
            lambda: winnow.crossings(draw(1, 5), draw(1, 5, seed=1), make_network("relu", (4, 3, 3, 1))),
            r"rows must be 4 wide, found a tensor of shape \[1, 5\]",
        ),
        (
            lambda: winnow.crossings(draw(1, 4), draw(1, 4, seed=1), make_network("gelu", (4, 3, 3, 1))),
            "gate gelu: lines through several layers are exact for relu",
        ),
        (
            lambda: winnow.crossings(draw(1, 7), draw(1, 7, seed=1), make_mlp("relu"), before_norm=True),
            "no norm comes before it; leave before_norm out",
        ),
        (
            lambda: winnow.spline_code(make_network("relu", (2, 3, 1)), 0, draw(2), before_norm=True),
            "before_norm: a plain network has no norm",
        ),
        (lambda: winnow.spline_code("gpt2", 0, draw(2)), "model: expected a LanguageModel .* found str"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line(ask, said: str):
    with pytest.raises(UserError, match=said) as error:
        ask()
    assert "\n" not in str(error.value)


def test_a_language_model_needs_a_layer(model: LanguageModel):
    with pytest.raises(UserError, match="layer = None: a language model's lines and maps are exact layer by layer"):
        winnow.spline_code(model, None, draw(2))
    with pytest.raises(UserError, match="layer = 9: the model has layers 0 to"):
        winnow.spline_code(model, 9, draw(2))


SHAPES = """
import torch, winnow
from winnow.spline.codes import hamming
from winnow.spline.gates import find_gate
from winnow.spline.mlp import MLP

one = torch.ones
mlp = MLP(one(3, 4), one(4), one(4, 2), one(2), find_gate("relu"))
for ask in (
    lambda: winnow.crossings(one(1, 3), one(2, 3), mlp),
    lambda: winnow.crossings(one(3), one(3), mlp),
    lambda: winnow.affine_map(mlp, None, one(2, 3), kind="values"),
    lambda: hamming(one(2, 9) > 0, one(2, 8) > 0),
    lambda: MLP(one(3, 4), one(4), one(5, 2), one(2), find_gate("relu")),
):
    try:
        ask()
        print("nothing was said")
    except winnow.UserError as error:
        print(error)
"""


def test_shapes_are_checked_where_no_test_checks_them():
    done = subprocess.run([sys.executable, "-c", SHAPES], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        "lines need two ends [line, d] of one shape, found [1, 3] and [2, 3]",
        "lines need two ends [line, d] of one shape, found [3] and [3]",
        "kind = 'values': there are the maps value, hard and tangent",
        "codes must be [row, n] of the same n, found [2, 9] and [2, 8]",
        "this layer: W_out must be [4, 2] beside the others, found W_in [3, 4], b_in [4], W_out [5, 2], b_out [2]",
    ], done.stderr


def test_plain_networks_need_none_of_the_stages_packages():
    program = (
        "import sys, torch, winnow; from torch import nn; "
        "net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)); "
        "winnow.crossings(torch.zeros(1, 2), torch.ones(1, 2), net); "
        "print([name for name in ('transformers', 'transformer_lens', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr
