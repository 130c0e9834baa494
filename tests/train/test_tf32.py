"""TensorFloat-32 is allowed in winnow's products, and what others had set stays so."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from train.architectures import architecture_of
from train.settings import DictionarySettings
from train.tf32 import products_in_tf32

MATMUL = torch.backends.cuda.matmul


def state() -> tuple[Any, ...]:
    return MATMUL.fp32_precision, MATMUL.allow_tf32, torch.get_float32_matmul_precision()


def allow(allowed: bool) -> None:
    MATMUL.allow_tf32 = allowed


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="torch has one way to set it")
@pytest.mark.parametrize(
    "used",
    [lambda: None, lambda: allow(True), lambda: allow(False), lambda: torch.set_float32_matmul_precision("high")],
    ids=["nothing", "allowed", "forbidden", "high"],
)
def test_the_switch_stands_afterwards_as_it_did(used: Callable[[], None]) -> None:
    used()
    before = state()
    with products_in_tf32():
        assert MATMUL.fp32_precision == "tf32"
    assert state() == before
    with pytest.raises(ValueError, match="broken"), products_in_tf32():
        raise ValueError("broken")
    assert state() == before
    torch.set_float32_matmul_precision("high")  # whoever uses the older way still can
    assert state()[1:] == (True, "high")
    torch.set_float32_matmul_precision("highest")
    assert state()[1:] == (False, "highest")


def test_an_older_torch_has_the_older_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(allow_tf32=False)
    monkeypatch.setattr(torch.backends.cuda, "matmul", older)
    with products_in_tf32():
        assert older.allow_tf32 is True
    assert older.allow_tf32 is False


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "tf32"])
@pytest.mark.parametrize("stacked", [1, 2])
def test_products_are_taken_in_tf32_only_where_it_is_asked_for(
    dtype: Any, stacked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noting(product: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            seen.append((MATMUL.fp32_precision == "tf32", arguments[-1].dtype))
            return product(*arguments)

        return noted

    for name in ("mm", "addmm", "bmm", "baddbmm"):
        monkeypatch.setattr(torch, name, noting(getattr(torch, name)))
    own = DictionarySettings(architecture="topk", n_latents=8, k=1, compute_dtype=dtype)
    architecture = architecture_of(*[own] * stacked)
    a, b = torch.ones(stacked, 3, 4), torch.ones(stacked, 4, 5)
    for bias in (None, torch.ones(stacked, 5)):
        architecture.product(a, b, bias)
    assert seen == [(dtype == "tf32", torch.bfloat16 if dtype == "bfloat16" else torch.float32)] * 2
