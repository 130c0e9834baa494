"""Whether a dictionary that fires above a threshold is as sparse as it was asked to be."""

L0_TOLERANCE = 0.05  # of k, by which the threshold may miss it


def misses_k(k: int, l0: float) -> bool:
    """Tell whether the mean count of active latents is too far from k."""
    return abs(l0 / k - 1) > L0_TOLERANCE
