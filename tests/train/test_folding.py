"""Nobody who loads a dictionary needs to know of the scale that its training saw."""

from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.stores import planted, write_store
from tests.train.experiments import HOOK, load, write_run
from train.learner import Learner
from train.stage import train

GRIDS: list[dict[str, Any]] = [
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5},
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5, "tied": True},
    {"architecture": "topk", "n_latents": 48, "k": 3},
    {"architecture": "batchtopk", "n_latents": 48, "k": 3},
    {"architecture": "jumprelu", "n_latents": 48, "l0_coefficient": 0.1},
    {"architecture": "gated", "n_latents": 48, "l1_coefficient": 0.5},
    {"architecture": "matryoshka", "n_latents": 48, "k": 3},
]
UNITS = 37.0  # of the activations: far from the mean norm of sqrt(d_model) that training sees


def test_raw_activations_are_encoded_as_scaled_ones_were_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = UNITS * planted(3000, 16, 40, 3)[0]
    write_store(tmp_path / "run" / "activations", {HOOK: x})
    finished: dict[Path, Learner] = {}
    original = Learner.dictionary

    def remember(self: Learner, scale: float) -> winnow.Dictionary:
        finished[self.planned.folder] = self
        return original(self, scale)

    monkeypatch.setattr(Learner, "dictionary", remember)
    train(load(write_run(tmp_path, GRIDS)))
    x = x[-500:]
    assert len(finished) == len(GRIDS)
    for folder, learner in finished.items():
        saved = winnow.load_dictionary(folder)
        scale = saved.provenance["folded_scale"]
        assert scale == pytest.approx(
            16**0.5 / float((UNITS * planted(3000, 16, 40, 3)[0]).norm(dim=1).mean()), rel=1e-5
        )
        before = original(learner, 1.0)  # as it was trained
        f = before.encode(scale * x)
        assert 0 < (f > 0).float().mean() < 0.7
        torch.testing.assert_close(saved.encode(x), f / scale, rtol=1e-4, atol=1e-4 * UNITS)
        torch.testing.assert_close(saved(x), before(scale * x) / scale, rtol=1e-4, atol=1e-4 * UNITS)
