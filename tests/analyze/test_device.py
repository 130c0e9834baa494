"""Directions are compared on the run's GPU, with the CPU's results."""

import numpy as np
import pytest
import torch

from analyze.compare.cosines import max_cosines, mean_cosines
from analyze.compare.decoder_null import decoder_null
from analyze.compare.directions import Features, compare
from analyze.device import comparing_device
from analyze.features.neighbours import nearest_latents


def test_the_device_is_the_runs_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for there, found in ((True, "cuda"), (False, "cpu")):  # without a GPU auto is MPS, which has no float64
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: int(there))
        assert comparing_device("auto").type == found
    assert comparing_device("mps").type == "cpu"
    assert comparing_device("cpu").type == "cpu"


def features(seed: int, n: int, device: str) -> Features:
    generator = torch.Generator().manual_seed(seed)
    decoder, encoder = (torch.randn(n, 24, generator=generator).to(device) for _ in range(2))
    alive = torch.rand(n, generator=generator) > 0.1
    return Features(decoder, encoder, alive, torch.rand(n, generator=generator), torch.rand(n, generator=generator))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_compares_as_the_cpu_does():
    here, there = ([features(seed, n, device) for seed, n in ((0, 300), (1, 200))] for device in ("cpu", "cuda"))
    for one, other in zip(compare(*here), compare(*there), strict=True):
        for key in ("mmcs", "mmcs_null", "matched_mean", "shared_fraction"):
            assert one.scores[key] == pytest.approx(other.scores[key], abs=1e-5)
        for name in ("max_cosine", "r2_4", "r2_4_random", "participation", "match_cosine"):
            np.testing.assert_allclose(getattr(one.features, name), getattr(other.features, name), atol=1e-4)
    largest = [max_cosines(a.decoder, b.decoder) for a, b in (here, there)]
    for ours, theirs in zip(*largest, strict=True):
        torch.testing.assert_close(ours, theirs.cpu(), atol=1e-5, rtol=0)
    assert mean_cosines(here[0].decoder) == pytest.approx(mean_cosines(there[0].decoder), abs=1e-5)
    null, other = (decoder_null(a.decoder, b.decoder).maxima for a, b in (here, there))
    np.testing.assert_allclose(null, other, atol=1e-5)
    found = [nearest_latents(a.decoder, b.decoder, b.alive, own_alive=a.alive) for a, b in (here, there)]
    torch.testing.assert_close(found[0].cosines, found[1].cosines, atol=1e-5, rtol=0)
