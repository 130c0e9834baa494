"""What a GPU has left for rows."""

import pytest
import torch

from tests.train.test_stack import ROWS, D, N, learner
from train.memory import room_for_rows, working_bytes

TOPK = {"architecture": "topk", "k": 4}


def test_what_steps_and_evaluations_take_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    one = [learner(0, TOPK)]
    weights = 4 * 2 * N * D
    assert working_bytes(one) > 2 * weights + 3 * 4 * ROWS * N  # a copy, gradients, and three arrays of rows x latents
    assert working_bytes([learner(0, TOPK), learner(1, TOPK)]) > 1.9 * working_bytes(one)  # they step together
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10_000_000, 20_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3_000_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2_000_000)
    assert room_for_rows(one, torch.device("cuda")) == 11_000_000 - working_bytes(one)
    assert room_for_rows(one, torch.device("cpu")) == 0
