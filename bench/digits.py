"""The polytopes of a small ReLU network on real digits: density of boundaries, and adversaries with their controls.

    python -m bench.digits [--rows 64] [--quick]

Three hidden layers of 64 neurons, trained on seven tenths of scikit-learn's 1797 digits; all numbers are of the others.
Lines are exact through all layers. The untrained twin is the same network before its training. A minute of two cores;
docs/results/polytopes.md has the tables.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import winnow
from analyze.report.sections.polytopes.words import between
from bench.command_line import bench_parser
from polytopes.experiments.adversaries import KINDS, measure_row, summarise
from winnow.spline.density import density_ratio
from winnow.spline.network import Network

SEED = 0
WIDTHS = (64, 64, 64, 64, 10)  # 8 x 8 pixels, three hidden layers, ten digits
EPOCHS = 60
BATCH = 64
PAIRS = (400, 20_000)  # of each digit, and of two digits
QUICK_PAIRS = (20, 500)
LENGTHS = (0.1, 0.15, 0.3)  # of steps, relative to the image
NAMES = {
    "adversary": "adversary",
    "random": "random",
    "covariance": "random, of the data's covariance",
    "random_at_path": "random, as long in pre-activations",
    "random_at_kl": "random, of the same KL",
}


def load_digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give images [image, 64] between 0 and 1, and their digits: those to train on, then the others."""
    from sklearn.datasets import load_digits as load

    images, digits = load(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(images))
    x, y = torch.from_numpy(images[order] / 16), torch.from_numpy(digits[order]).long()
    first = len(x) * 7 // 10
    return x[:first], y[:first], x[first:], y[first:]


def make_network() -> nn.Sequential:
    """Give the untrained network, in float64; the same each time."""
    torch.manual_seed(SEED)
    modules: list[nn.Module] = []
    for d_in, d_out in itertools.pairwise(WIDTHS):
        modules += [nn.Linear(d_in, d_out), nn.ReLU()]
    return nn.Sequential(*modules[:-1]).double()


def train(network: nn.Sequential, x: Tensor, y: Tensor, epochs: int) -> None:
    """Train by Adam on the cross-entropy of the digit."""
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()


def draw_pairs(y: Tensor, same: int, different: int) -> tuple[Tensor, Tensor]:
    """Draw pairs of images of one digit, `same` a digit, and of two digits: indices [2, pair] each."""
    random = np.random.default_rng(SEED)
    of_digit = [np.flatnonzero(y == digit) for digit in range(10)]
    within = np.concatenate([images[random.integers(len(images), size=(2, same))] for images in of_digit], 1)
    between = random.integers(len(y), size=(2, different))
    between = between[:, y[between[0]].numpy() != y[between[1]].numpy()]
    return torch.from_numpy(within[:, within[0] != within[1]]), torch.from_numpy(between)


def density_table(networks: dict[str, nn.Sequential], x: Tensor, y: Tensor, pairs: tuple[int, int]) -> Table:
    """Compare densities of boundaries between two digits and within one, on lines of equal length."""
    within, between = draw_pairs(y, *pairs)
    table = Table(title="digits: density between two digits / within one")
    for column in ("network", *(f"layer {layer}" for layer in range(len(WIDTHS) - 2)), "length"):
        table.add_column(column)
    for name, network in networks.items():
        same = winnow.crossings(x[within[0]], x[within[1]], network)
        other = winnow.crossings(x[between[0]], x[between[1]], network)
        ratios = [
            density_ratio(dense, same.length, sparse, other.length, y[within[0]], SEED)
            for dense, sparse in zip(same.density().T, other.density().T, strict=True)
        ]
        cells = [f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}]" for found in ratios]
        table.add_row(name, *cells, f"{ratios[0].length_ratio:.3f}")
    return table


def adversary_table(network: nn.Sequential, x: Tensor, y: Tensor, rows: int, length: float) -> Table:
    """Measure adversarial steps of a length relative to the image, beside their controls; intervals over digits."""
    read = Network.of(network)

    def forward(values: Tensor) -> tuple[Tensor, Tensor]:
        return read(values), torch.cat(read.pre(values), -1)

    found = [measure_row(forward, x[row], length, x, [SEED, row]) for row in range(rows)]
    result = summarise([one for one, _ in found], [scale for _, scale in found], y[:rows].numpy(), SEED)
    norm = length * x[:rows].norm(dim=1).mean()
    table = Table(title=f"digits: steps of {length:g} of the image's norm ({norm:.2f} on average), {rows} images")
    columns = "step", "KL", "flips", "crossings", "per path", "times as long", "adversary / this", "the same per path"
    for column in columns:
        table.add_column(column)
    for kind in KINDS:
        one, ratio = result["kinds"][kind], result["ratios"].get(kind, {})
        table.add_row(
            NAMES[kind],
            *(between(**one[key]) for key in ("kl", "flips", "crossings", "per_path")),
            "" if one.get("scale") is None else f"{one['scale']:.2f}",
            *(between(**ratio[key]) if ratio else "" for key in ("crossings", "per_path")),
        )
    table.caption = f"Spearman of KL and crossings among random steps: {between(**result['spearman'])}"
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = bench_parser(__doc__)
    parser.add_argument("--rows", type=int, metavar="N", help="images that steps start from; 64, or 4 with --quick")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    x, y, held_out, digits = load_digits()
    networks = {"trained": make_network(), "untrained": make_network()}
    train(networks["trained"], x, y, 2 if quick else EPOCHS)
    for network in networks.values():
        network.requires_grad_(requires_grad=False)
    right = (networks["trained"](held_out).argmax(1) == digits).double().mean()
    console = Console(width=200)
    print(f"digits{' (quick)' * quick}: {right:.1%} of {len(held_out)} held-out images are classified correctly")
    console.print(density_table(networks, held_out, digits, QUICK_PAIRS if quick else PAIRS))
    for length in LENGTHS[:1] if quick else LENGTHS:
        rows = arguments.rows or (4 if quick else 64)
        console.print(adversary_table(networks["trained"], held_out, digits, rows, length))


if __name__ == "__main__":
    main()
