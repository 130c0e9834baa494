"""Draw the largest families of a family tree into the axes of a paper figure."""

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from analyze.report.draw.chart import PALETTE, FamilyTree
from analyze.report.draw.tree_layout import place_families

FEATURES = 240  # most features drawn; more would be too close to distinguish


def draw_tree(ax: Axes, tree: FamilyTree) -> None:
    """Draw sizes as columns from left to right, and each family as a bundle of lines, the largest at the top."""
    places = place_families(tree, FEATURES)
    lines = [
        [(i, places[i, kinship.parent]), (i + 1, places[i + 1, kinship.child])]
        for i, kinships in enumerate(tree.kinships)
        for kinship in kinships
        if (i, kinship.parent) in places and (i + 1, kinship.child) in places
    ]
    ax.add_collection(LineCollection(lines, colors=PALETTE[0], linewidths=0.5, alpha=0.7))
    ax.plot([column for column, _ in places], list(places.values()), ".", color=PALETTE[0], markersize=2)
    ax.set_xlim(-0.3, len(tree.sizes) - 0.7)
    ax.set_ylim(max(places.values(), default=1) + 1, -1)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.set_xticks(range(len(tree.sizes)), tree.sizes)
    ax.set_xlabel("latents in the dictionary")
