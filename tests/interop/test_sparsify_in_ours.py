"""Dictionaries that sparsify made open with winnow, and do the same here."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import pytest
import torch
from sparsify import SparseCoderConfig
from sparsify.sparse_coder import SparseCoder
from torch import Tensor

import winnow
from tests.interop.agreement import assert_agrees, randomise, some_rows
from winnow.errors import UserError

D, K = 12, 6


def coder(dtype: torch.dtype = torch.float32, **options: Any) -> SparseCoder:
    made = SparseCoder(D, SparseCoderConfig(expansion_factor=4, k=K, **options), dtype=dtype)
    randomise(made)
    return made


def agrees(d: winnow.Dictionary, theirs: SparseCoder, x: Tensor) -> None:
    """Compare with sparsify's pairs of activations and indices, [..., k] each."""

    def encode(rows: Tensor) -> Tensor:
        found = theirs.encode(rows)
        zeros = torch.zeros(*rows.shape[:-1], theirs.num_latents)
        return zeros.scatter(-1, found.top_indices, found.top_acts)

    def decode(latents: Tensor) -> Tensor:
        values, indices = latents.topk(K, dim=-1)
        return theirs.decode(values, indices)

    assert_agrees(d, encode, decode, x)


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("options", [{}, {"num_latents": 30, "normalize_decoder": False, "multi_topk": True}], ids=str)
def test_what_sparsify_saves(activation: Any, options: dict[str, Any], tmp_path: Path) -> None:
    made = coder(activation=activation, **options)
    made.save_to_disk(tmp_path)
    theirs, d = SparseCoder.load_from_disk(tmp_path), winnow.load_dictionary(tmp_path)
    assert (d.architecture, d.k or d.groups, d.d_model, d.n_latents) == (activation, K, D, made.num_latents)
    agrees(d, theirs, some_rows(D))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_other_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    coder(dtype).save_to_disk(tmp_path)
    agrees(winnow.load_dictionary(tmp_path), SparseCoder.load_from_disk(tmp_path).float(), some_rows(D))


@pytest.mark.parametrize("options", [{"transcode": True}, {"skip_connection": True}], ids=str)
def test_what_is_no_dictionary_of_one_hook_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    coder(**options).save_to_disk(tmp_path)
    with pytest.raises(UserError, match=rf"cfg\.json: {next(iter(options))} = true is not supported"):
        winnow.load_dictionary(tmp_path)
