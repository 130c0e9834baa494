import math

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from analyze.evaluation.loss import Clean, Sums, loss_metrics, recovered, substitute


@pytest.fixture
def passes():
    generator = torch.Generator().manual_seed(0)
    clean, other = torch.randn(2, 3, 7, 11, generator=generator).unbind(0)
    tokens = torch.randint(11, (3, 7), generator=generator)
    return clean * 3 - 80, other * 3 - 60, tokens


def test_cross_entropy_and_kl_equal_torch_in_float64(passes):
    clean, other, tokens = passes
    reference = Clean(clean, tokens)
    sums = reference.compare(other)
    targets = tokens[:, 1:].flatten()
    predicted = [logits[:, :-1].flatten(0, 1).double() for logits in (clean, other)]
    assert sums.tokens == 18
    assert reference.sums.mean_ce == pytest.approx(cross_entropy(predicted[0], targets).item(), rel=1e-6)
    assert sums.mean_ce == pytest.approx(cross_entropy(predicted[1], targets).item(), rel=1e-6)
    log_p, log_q = (logits.log_softmax(-1) for logits in predicted)
    divergence = kl_div(log_q, log_p, reduction="batchmean", log_target=True).item()
    assert sums.mean_kl == pytest.approx(divergence, rel=1e-5)


def test_the_clean_pass_compared_with_itself_loses_nothing(passes):
    clean, _, tokens = passes
    reference = Clean(clean, tokens)
    sums = reference.compare(clean)
    assert sums.mean_ce == pytest.approx(reference.sums.mean_ce, rel=1e-6)
    assert abs(sums.mean_kl) < 1e-5


def test_only_kept_positions_are_replaced():
    activations = torch.arange(24.0).view(2, 3, 4)
    kept = torch.tensor([[False, True, True], [False, False, True]])
    patched = substitute(kept, torch.full((3, 4), -1.0))(activations)
    assert torch.equal(patched[~kept], activations[~kept])
    assert (patched[kept] == -1).all()
    assert activations.min() == 0  # the model's own tensor stays
    assert (substitute(kept, torch.zeros(4))(activations)[kept] == 0).all()


def test_recovered_is_one_for_nothing_lost_and_zero_for_as_bad_as_the_ablation():
    assert recovered(3.0, 3.0, 8.0) == 1
    assert recovered(8.0, 3.0, 8.0) == 0
    assert recovered(3.5, 3.0, 8.0) == pytest.approx(0.9)
    assert math.isnan(recovered(3.0, 3.0, 3.0))


def test_metrics_are_means_over_predicted_tokens():
    clean, patched = Sums(10, 30.0) + Sums(10, 34.0), Sums(20, 66.0, 2.0)
    metrics = loss_metrics(clean, patched, Sums(20, 160.0), Sums(20, 140.0))
    assert metrics == pytest.approx(
        {
            "clean": 3.2,
            "patched": 3.3,
            "zero": 8.0,
            "mean": 7.0,
            "recovered": 4.7 / 4.8,
            "recovered_mean": 3.7 / 3.8,
            "kl": 0.1,
        }
    )
