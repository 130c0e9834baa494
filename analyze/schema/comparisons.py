"""What `metrics.json` says of two dictionaries, and of whole ladders of them."""

from analyze.format import Number
from analyze.schema.activations import Numbers, Quantiles, Table
from analyze.schema.record import Record, key, record
from analyze.schema.truth import Recovery


@record
class LatentsOfRate(Record):
    """Latents of similar firing rate; the ends are log10 of it."""

    from_: Number | None = key("from")
    to: Number | None
    count: int
    mean: Number | None


@record
class RandomShares(Record):
    """What one to four random directions explain of each latent, for comparison."""

    present: Number | None
    composed: Number | None
    absent: Number | None
    r2: Numbers


@record
class Diagnosis(Record):
    """What of each latent one to four directions of the other explain."""

    present: Number | None
    composed: Number | None
    absent: Number | None
    r2: Numbers
    random: RandomShares | None
    participation: Quantiles | None


@record
class Meta(Record):
    """What of the directions four-term combinations explain, and random ones."""

    explained: Number | None
    random: Number | None


@record
class MaxCosines(Record):
    """The distribution of maximal cosines, and what chance would give."""

    edges: Numbers
    counts: Numbers
    null: Numbers | None
    quantiles: Quantiles | None


@record
class Functional(Record):
    """How alike latents and their nearest fire."""

    correlation: Number | None
    jaccard: Number | None
    masked_to_target: Number | None
    masked_to_source: Number | None
    jaccard_null: Number | None
    masked_to_target_null: Number | None
    masked_to_source_null: Number | None


@record
class Stitching(Record):
    """What latents do in the other's reconstruction."""

    novel: Number | None
    novel_to_itself: Number | None
    auc: Number | None


@record
class Tested(Record):
    """A score, its chance level, and the probability of as much by chance."""

    score: Number | None
    null: Number | None
    p: Number | None


@record
class Angles(Record):
    """The leading subspaces, and how far they coincide."""

    dimensions: list[int]
    degrees: Numbers
    overlap: Tested


@record
class Subspaces(Record):
    """The spaces that latents which fire alike span."""

    pairs: int
    correlation: Number | None
    cka: Tested
    svcca: Tested
    angles: Angles


@record
class PairSnapshots(Record):
    """MMCS at equal rows of both trainings."""

    rows: Numbers
    mmcs_corrected: Numbers


@record
class Pair(Record):
    """How well the latents of one dictionary are present in another."""

    from_: str = key("from")
    to: str
    features_csv: str | None
    mmcs: Number | None
    mmcs_with_dead: Number | None
    mmcs_null: Number | None
    mmcs_corrected: Number | None
    mmcs_null_isotropic: Number | None
    mmcs_corrected_isotropic: Number | None
    above_chance: Number | None
    matched_mean: Number | None
    matched_above_09: Number | None = key("matched_above_0.9")
    matched_above_07: Number | None = key("matched_above_0.7")
    shared_fraction: Number | None
    scale_aware: Number | None
    recovery: Recovery | None
    by_firing_rate: list[LatentsOfRate] | None
    diagnosis: Diagnosis | None
    meta: Meta | None
    max_cosines: MaxCosines | None
    functional: Functional | None
    stitching: Stitching | None
    subspaces: Subspaces | None
    snapshots: PairSnapshots | None


@record
class ForNothing(Record):
    """What a trained dictionary scores in a control: what the scores give for nothing."""

    from_: str = key("from")
    to: str
    control: str
    mmcs: Number | None
    mmcs_null: Number | None
    mmcs_corrected: Number | None
    above_chance: Number | None
    matched_mean: Number | None
    shared_fraction: Number | None


@record
class Family(Record):
    """Which feature of a size comes from which of the next smaller one; no counts where a size has none alive."""

    from_: str = key("from")
    to: str
    persists: int | None
    splits: int | None
    vanished: int | None
    new: int | None
    merges: int | None
    mutual: int
    by_cosine: int
    by_masked: int
    by_both: int
    cosine_random: int
    edges: list[list[Number]] | None


@record
class ToLargest(Record):
    """What becomes of a size's features in the largest one."""

    persists: int | None
    splits: int | None
    vanished: int | None


@record
class FromSmallest(Record):
    """Where a size's features come from, as seen from the smallest one."""

    persists: int | None
    merges: int | None
    new: int | None


@record
class SizeOfLineage(Record):
    """One size of a ladder."""

    to_largest: ToLargest
    from_smallest: FromSmallest
    born_counts: list[int]


@record
class Lineage(Record):
    """A ladder of three sizes and more, smallest first."""

    paths: list[str]
    survival: Table
    sizes: list[SizeOfLineage]
    latents_csv: str | None
