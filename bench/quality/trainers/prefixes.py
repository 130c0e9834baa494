"""The nested dictionaries of a matryoshka one: the peers have no default for them, and get winnow's."""

from train.architectures.matryoshka import Matryoshka


def prefixes(n_latents: int) -> list[int]:
    """List how many latents each nested dictionary has, the whole last."""
    return Matryoshka(k=(1,)).prefixes(n_latents)
