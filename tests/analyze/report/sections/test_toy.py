"""The judgements of what toy data assume of activations; none is decided by one outlier dimension."""

import numpy as np
import pytest
import torch

from analyze.activations.distributions import describe
from analyze.activations.spectrum import covariance, privileged_basis, spectrum
from analyze.report.sections.toy import basis, centred, evenly, outliers
from analyze.schema.activations import Activations
from analyze.schema.record import keys_of, read_record
from harvest.accumulate import statistics_of
from winnow.runtime.to_json import to_json

WIDTH = 48


def hook_of(rows: torch.Tensor) -> Activations:
    found = describe("blocks.1.hook_resid_post", statistics_of(rows, torch.zeros(len(rows), dtype=torch.long), 1))
    of_rows = {
        "spectrum": spectrum(covariance(rows)),
        "privileged_basis": privileged_basis(rows, torch.Generator().manual_seed(0)),
    }
    return read_record(Activations, to_json(dict.fromkeys(keys_of(Activations)) | found | of_rows))


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(0))


def test_rows_that_scatter_around_zero_in_no_special_basis_agree(rows):
    hook = hook_of(rows)
    assert all(judge(hook)[0] for judge in (basis, centred, evenly, outliers))
    assert "standardised" not in evenly(hook)[1]


@pytest.mark.parametrize("kind", ["of large variance", "of large mean", "of heavy tails"])
def test_one_outlier_dimension_is_counted_once_and_decides_nothing_else(rows, kind):
    rows = rows.clone()
    if kind == "of large variance":
        rows[:, 7] *= 300
    elif kind == "of large mean":
        rows[:, 7] += 300
    else:
        rows[:, 7] = 0
        rows[::500, 7] = 20
    hook = hook_of(rows)
    assert outliers(hook) == (False, "1")
    assert basis(hook)[0] is True
    assert centred(hook)[0] is True
    if kind == "of large variance":
        assert evenly(hook) == (False, f"1 of {WIDTH}, standardised {WIDTH}")


def test_an_outlier_does_not_hide_what_the_others_break(rows):
    away = rows + 1
    away[:, 7] = 300 * rows[:, 7]  # all but the whole mean square, and its mean is 0
    agrees, said = centred(hook_of(away))
    assert not agrees
    assert float(said.removesuffix("% is mean")) == pytest.approx(50, abs=0.5)
    sparse = rows * (torch.rand(rows.shape, generator=torch.Generator().manual_seed(1)) < 0.05)
    sparse[:, 7] = 300 * np.sqrt(3) * torch.rand(len(rows), generator=torch.Generator().manual_seed(2))
    assert basis(hook_of(sparse))[0] is False
