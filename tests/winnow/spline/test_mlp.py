"""Norms against torch's own, and layers whose shapes do not fit."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.winnow.spline.planted import draw, make_mlp, make_norm
from winnow.errors import UserError
from winnow.spline.mlp import MLP


def test_norms_are_torchs():
    rows = 3 * draw(4, 5, 16) + 1
    layer, rms = make_norm("layer", 16), make_norm("rms", 16, bias=0.0)
    torch.testing.assert_close(layer(rows), F.layer_norm(rows, [16], layer.weight, layer.bias, layer.eps))
    torch.testing.assert_close(rms(rows), F.rms_norm(rows, [16], rms.weight, rms.eps))


def test_a_layer_computes_in_its_own_dtype_and_can_move_to_another():
    mlp = replace(make_mlp("gelu"), norm=make_norm("layer", 7))
    single = mlp.to(torch.float32)
    assert single.norm is not None
    assert {t.dtype for t in (single.W_in, single.b_out, single.norm.weight)} == {torch.float32}
    assert mlp(draw(3, 7).float()).dtype == torch.float64
    torch.testing.assert_close(single(draw(3, 7)).double(), mlp(draw(3, 7)), rtol=1e-4, atol=1e-4)


def test_a_gated_layer_multiplies_its_gate():
    mlp, u = make_mlp("silu", gated=True), draw(3, 7)
    assert mlp.W_value is not None
    assert mlp.b_value is not None
    expected = (F.silu(u @ mlp.W_in + mlp.b_in) * (u @ mlp.W_value + mlp.b_value)) @ mlp.W_out + mlp.b_out
    torch.testing.assert_close(mlp(u), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b_value": draw(24)}, r"this layer: W_value must be \[7, 24\] beside the others"),
        ({"norm": make_norm("rms", 8)}, r"its norm must be 7 wide, found \[8\]"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict, message: str):
    with pytest.raises(UserError, match=message):
        replace(make_mlp("relu"), **change)


def test_a_layer_without_norm_reads_no_residual_stream():
    with pytest.raises(UserError, match="this layer: no norm comes before it"):
        make_mlp("relu").read(draw(2, 7))
    mlp: MLP = replace(make_mlp("relu"), norm=make_norm("layer", 7))
    assert mlp.norm is not None
    torch.testing.assert_close(mlp.read(draw(2, 7)), mlp.norm(draw(2, 7)))
