"""Batches that are sent ahead."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.train.links import LateLink
from train.link import link_to, send_ahead


def batches() -> Iterator[Tensor]:
    for number in range(7):
        yield torch.full((5 if number < 6 else 2, 3), float(number))


@pytest.mark.parametrize("ahead", [2, 3])
def test_batches_arrive_in_order_through_few_buffers(ahead: int):
    link = LateLink()
    found = list(send_ahead(batches(), link, ahead))
    assert torch.equal(torch.cat(found), torch.cat(list(batches())))
    assert link.pinned_bytes == ahead * 5 * 3 * 4


def test_nothing_is_sent_of_nothing():
    assert list(send_ahead([], LateLink())) == []


def test_a_batch_stays_as_it_is_while_the_next_comes():
    found = []
    for batch in send_ahead(batches(), LateLink()):
        found.append((batch, batch.clone()))
    assert all(torch.equal(batch, copy) for batch, copy in found)


def test_without_a_link_batches_are_handed_on():
    given = list(batches())
    assert all(a is b for a, b in zip(send_ahead(given, None), given, strict=True))
    assert link_to(torch.device("cpu")) is None


def test_what_breaks_while_a_batch_is_made_is_raised():
    def broken() -> Iterator[Tensor]:
        yield torch.ones(2)
        raise ValueError("a shard is damaged")

    with pytest.raises(ValueError, match="a shard is damaged"):
        list(send_ahead(broken(), LateLink()))
