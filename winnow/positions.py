"""Choose the positions of a sequence to keep: a pure function of policy, tokens, sequence number and seed."""

import numpy as np
from jaxtyping import Bool, Int32

from winnow.config.experiment import Experiment
from winnow.config.positions import PositionPolicy


def kept_positions(
    policy: PositionPolicy, tokens: Int32[np.ndarray, "sequence context"], first_sequence: int, seed: int
) -> Bool[np.ndarray, "sequence context"]:
    """Mark the positions of each sequence that are harvested.

    `first_sequence` is the number of the first row of `tokens` in the whole text: random positions depend on
    (seed, number of the sequence) only, not on the process that draws them. A sequence with fewer allowed
    positions than asked for keeps all of them.
    """
    count, context = tokens.shape
    allowed = np.broadcast_to(np.arange(context) >= policy.skip_first, (count, context)).copy()
    if policy.drop_tokens:
        allowed &= ~np.isin(tokens, policy.drop_tokens)
    wanted = policy.evenly or policy.random
    if wanted is None:
        return allowed
    kept = np.zeros_like(allowed)
    for row in range(count):
        places = np.flatnonzero(allowed[row])
        if len(places) > wanted:
            if policy.evenly:  # the middles of `wanted` equal stretches
                places = places[((np.arange(wanted) + 0.5) * len(places) / wanted).astype(int)]
            else:
                places = np.random.default_rng([seed, first_sequence + row]).choice(places, wanted, replace=False)
        kept[row, places] = True
    return kept


def position_policy(config: Experiment) -> PositionPolicy:
    """Return the configured policy; `all` is the policy that drops nothing."""
    return PositionPolicy() if config.harvest.positions == "all" else config.harvest.positions


def most_per_sequence(policy: PositionPolicy, context: int) -> int:
    """Return the largest number of positions that a sequence can keep."""
    return policy.evenly or policy.random or context - policy.skip_first
