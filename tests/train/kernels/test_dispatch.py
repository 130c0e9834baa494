"""Whether Triton computes: only where it can build a kernel, said once where it cannot."""

from collections.abc import Iterator

import pytest
import torch

from train.kernels import dispatch


@pytest.fixture(autouse=True)
def no_gpu_needed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make tensors on the CPU where the trial asks for a GPU, and forget what was found before and after."""
    made = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda values, device: made(values))
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))
    dispatch._works.cache_clear()
    yield
    dispatch._works.cache_clear()


def test_where_triton_is_not_installed_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    assert not dispatch._works()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        (RuntimeError("traceback\nFailed to find C compiler. Please specify via CC"), "Failed to find C compiler"),
        (torch.zeros(1, 16), "its sums are wrong"),
    ],
)
def test_where_triton_cannot_build_torch_computes_and_one_line_says_so(
    trial: object, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    tried = []

    def weighted_sums(*arguments: object) -> object:
        tried.append(arguments)
        if isinstance(trial, Exception):
            raise trial
        return trial

    monkeypatch.setattr(dispatch, "find_spec", lambda name: object())
    monkeypatch.setattr(dispatch, "weighted_sums", weighted_sums)
    assert not dispatch._works()
    assert not dispatch._works()
    said = capsys.readouterr().err
    assert said.startswith("train: Triton cannot build its kernels here (")
    assert why in said
    assert said.endswith("torch computes instead, slower\n")
    assert said.count("\n") == len(tried) == 1


def test_where_it_builds_triton_computes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: object())
    monkeypatch.setattr(dispatch, "weighted_sums", lambda *arguments: torch.full((1, 16), 2.0))
    assert dispatch._works()
    assert capsys.readouterr().err == ""
