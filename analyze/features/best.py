"""Keep the k best events of every latent over a stream of rows, with the latent's values around each.

An event is one latent firing on one token. It is stored as one int64: a 31-bit key in the high bits, and below it
the token's number counted down from the largest. Comparing two integers thus compares keys, and earlier tokens win
ties, so the result does not depend on the batches. Each sequence contributes at most one event per latent, so
contexts never overlap.

With the activation as the key these are the top examples. With a random key they are a sample: the largest of w
uniform keys of a sequence with w firings is distributed as u^(1/w), so sequences are drawn without replacement in
proportion to their firings (Efraimidis and Spirakis 2006), and within a sequence every firing is equally likely.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BEFORE, AFTER = 32, 15  # tokens before and after an event whose activations are kept
TOKENS = 2**32  # upper bound on token numbers
WORDS = (0x9E3779B97F4A7C15 - 2**64, 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)  # constants of splitmix64


class Events(NamedTuple):
    """Events of every latent, and the latent's activations from `BEFORE` tokens before each to `AFTER` after it.

    `tokens` holds sequence * context + position, or -1 if there are fewer than k events. `windows` is 0 outside the
    sequence and at positions that are not kept.
    """

    tokens: Int[Tensor, "n_latents k"]
    windows: Float[Tensor, "n_latents k window"]

    @property
    def activations(self) -> Float[Tensor, "n_latents k"]:
        """The latent's value at the event; 0 where there is no event."""
        return self.windows[:, :, BEFORE]

    def take(self, order: Int[Tensor, "n_latents chosen"]) -> "Events":
        """Choose events of each latent; an entry of -1 chooses none."""
        none = order < 0
        order = order.clamp_min(0)
        tokens = self.tokens.gather(1, order).masked_fill(none, -1)
        windows = self.windows.gather(1, order[:, :, None].expand(-1, -1, self.windows.shape[2]))
        return Events(tokens, windows.masked_fill(none[:, :, None], 0.0))


class Batch(NamedTuple):
    """The latents of some whole sequences, and the positions of their rows in the text.

    Row i of `f` is the i-th kept position of `kept`, in order of sequence and position.
    """

    f: Float[Tensor, "row n_latents"]
    kept: Bool[Tensor, "sequence context"]
    first: int  # number of the first sequence

    @property
    def tokens(self) -> Int[Tensor, " row"]:
        """The number of each row's token, counted through all sequences."""
        return self.kept.flatten().nonzero()[:, 0] + self.first * self.kept.shape[1]

    def windows(self, latents: Int[Tensor, " event"], tokens: Int[Tensor, " event"]) -> Float[Tensor, "event window"]:
        """Gather the activations around events."""
        context = self.kept.shape[1]
        row = torch.where(self.kept.flatten(), self.kept.flatten().cumsum(0) - 1, -1)  # (token,)
        place = tokens % context
        offsets = torch.arange(-BEFORE, AFTER + 1, device=tokens.device)
        inside = (place[:, None] + offsets >= 0) & (place[:, None] + offsets < context)
        around = (tokens - self.first * context)[:, None] + offsets
        rows = row[around.clamp(0, len(row) - 1)]
        values = self.f.flatten()[rows.clamp_min(0) * self.f.shape[1] + latents[:, None]]
        return values * (inside & (rows >= 0))


class Best:
    """The `k` events with the largest keys of each latent, in memory that does not grow with the rows."""

    def __init__(self, n_latents: int, k: int, device: torch.device | None = None) -> None:
        self.packed = torch.zeros(n_latents, k, dtype=torch.int64, device=device)
        self.windows = torch.zeros(n_latents, k, BEFORE + AFTER + 1, device=device)

    def update(self, batch: Batch, packed: Int[Tensor, "sequence n_latents"]) -> None:
        """Add the best event of each sequence of a batch; 0 means no event."""
        k = self.packed.shape[1]
        both = torch.cat([self.packed, packed.T], dim=1)
        chosen = torch.zeros_like(both, dtype=torch.bool).scatter_(1, both.topk(k, dim=1, sorted=False).indices, True)
        # each latent loses as many events as it gains, and both lists are sorted by latent, so they line up
        latent, slot = (~chosen[:, :k]).nonzero().unbind(1)
        arriving = packed.T[chosen[:, k:]]
        real = arriving > 0
        latent, slot, arriving = latent[real], slot[real], arriving[real]
        self.packed[latent, slot] = arriving
        self.windows[latent, slot] = batch.windows(latent, token_of(arriving))

    def events(self) -> Events:
        """Return the kept events, in falling order of keys, on the CPU."""
        tokens = torch.where(self.packed > 0, token_of(self.packed), -1)
        order = self.packed.argsort(dim=1, descending=True)
        return Events(tokens.cpu(), self.windows.cpu()).take(order.cpu())


def pack(keys: Int[Tensor, " event"], tokens: Int[Tensor, " event"]) -> Int[Tensor, " event"]:
    """Pack keys in [1, 2^31) and token numbers into integers that order events."""
    return (keys << 32) | (TOKENS - 1 - tokens)


def token_of(packed: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Unpack the token's number."""
    return TOKENS - 1 - (packed & (TOKENS - 1))


def activation_keys(values: Float[Tensor, " event"]) -> Int[Tensor, " event"]:
    """Make keys that order events by activation: the bits of a positive float32 grow with it."""
    return values.float().contiguous().view(torch.int32).long()


def random_keys(latents: Int[Tensor, " event"], tokens: Int[Tensor, " event"]) -> Int[Tensor, " event"]:
    """Compute pseudo-random keys in [1, 2^31) from the latent and the token only (splitmix64)."""
    x = latents * TOKENS + tokens
    x = (x + 1) * WORDS[0]
    x = (x ^ ((x >> 30) & (2**34 - 1))) * WORDS[1]
    x = (x ^ ((x >> 27) & (2**37 - 1))) * WORDS[2]
    x = x ^ ((x >> 31) & (2**33 - 1))
    return ((x >> 33) & (2**31 - 1)).clamp_min(1)


def best_per_sequence(
    packed: Int[Tensor, " event"], latents: Int[Tensor, " event"], sequences: Int[Tensor, " event"], best: Tensor
) -> None:
    """Raise `best` [sequence, n_latents], in place, to the largest packed event of each sequence and latent."""
    best.view(-1).scatter_reduce_(0, sequences * best.shape[1] + latents, packed, "amax")
