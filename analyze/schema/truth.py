"""What `metrics.json` says of a known truth, and of how much of it a dictionary found."""

from typing import Any

from analyze.format import Number
from analyze.schema.activations import Assumptions, Numbers, Spread
from analyze.schema.record import Record, key, record


@record
class Recovery(Record):
    """R(t), the share of features with a cosine above each threshold."""

    thresholds: Numbers
    shares: Numbers


@record
class Mmcs(Record):
    """MMCS, its chance level, and MMCS corrected for it."""

    mmcs: Number | None
    mmcs_null: Number | None
    mmcs_corrected: Number | None
    mmcs_null_isotropic: Number | None
    mmcs_corrected_isotropic: Number | None


@record
class Firing(Record):
    """How well the firing of the nearest latents tells that of the features."""

    precision: Spread
    recall: Spread
    f1: Spread
    mcc: Spread


@record
class Hedging(Record):
    """How much of what goes with their features the latents take up."""

    score: Number | None
    to_hedge: Number | None
    latents: Number | None


@record
class FeaturesOfRate(Record):
    """True features of similar firing rate; the ends are log10 of it."""

    from_: Number | None = key("from")
    to: Number | None
    count: int
    cosine: Number | None
    precision: Number | None
    recall: Number | None
    f1: Number | None
    mcc: Number | None


@record
class FiringMeans(Record):
    """The means of the same over some features."""

    precision: Number | None
    recall: Number | None
    f1: Number | None
    mcc: Number | None


@record
class TreeScores(Record):
    """What became of parents and children: found, absorbed by their children's latents, or split among them."""

    parents_found: Number | None
    absorption: Number | None
    parents_absorbed: Number | None
    split: Number | None
    pieces: Number | None
    parents: FiringMeans
    children: FiringMeans


@record
class TruthSnapshots(Record):
    """What was found of the truth at each snapshot."""

    rows: Numbers
    recovered: Numbers
    mmcs_corrected: Numbers


@record
class Steepest(Record):
    """Where most features were found for a doubling of the rows."""

    rows: Number | None
    per_doubling: Number | None


@record
class TruthScores(Record):
    """How much of the truth one dictionary found."""

    mmcs: Number | None
    mmcs_null: Number | None
    mmcs_corrected: Number | None
    mmcs_null_isotropic: Number | None
    mmcs_corrected_isotropic: Number | None
    learned: Mmcs
    matched_mean: Number | None
    recovered: Number | None
    recovery: Recovery | None
    size_ratio: Number | None
    firing: Firing
    hedging: Hedging | None
    by_firing_rate: list[FeaturesOfRate] | None
    structure: TreeScores | None  # where features have parents
    snapshots: TruthSnapshots | None
    rows_to_half: Number | None
    steepest: Steepest | None


@record
class Regime(Record):
    """How the true directions lie."""

    name: str
    looks_like: str | None
    dimensionality: Spread
    dimensionality_random: Number | None
    antipodal_share: Number | None
    mean_max_cosine: Number | None
    mean_max_cosine_random: Number | None
    mean_max_abs_cosine: Number | None


@record
class Trees(Record):
    """Features that are parents and children of one another."""

    roots: int
    parents: int
    children: int
    siblings: str
    rows_with_child: Number | None


@record
class Truth(Record):
    """What the truth is like."""

    path: str
    settings: dict[str, Any]
    features: int
    d_model: int
    features_per_dimension: Number | None
    regime: Regime
    firing_rates: Spread
    trees: Trees | None
    codes: Assumptions
