"""What `metrics.json` says of activations, and of how codes agree with what toy data assume."""

from typing import Annotated

from analyze.format import Number
from analyze.schema.record import Record, key, record

Numbers = list[Number | None]
Table = list[Numbers]


@record
class Quantiles(Record):
    """A distribution, at five of its quantiles."""

    q05: Number | None = key("0.05")
    q25: Number | None = key("0.25")
    q50: Number | None = key("0.5")
    q75: Number | None = key("0.75")
    q95: Number | None = key("0.95")


@record
class Spread(Quantiles):
    """A distribution: its mean, and five of its quantiles."""

    mean: Number | None


@record
class Density(Record):
    """A density over bins: one more edge than values."""

    edges: Numbers
    density: Numbers


@record
class Counts(Record):
    """A histogram: one more edge than counts."""

    edges: Numbers
    counts: Numbers


@record
class Decay(Record):
    """How rates fall from unit to unit."""

    factor: Number | None
    r2: Number | None


@record
class Dependence(Record):
    """How far units fire together, and by chance."""

    phi: Number | None
    null: Number | None


@record
class Magnitudes(Record):
    """What law the values above 0 follow."""

    variation: Number | None
    best: str | None
    log_likelihood: Annotated[dict[str, Number | None], ("uniform", "half_normal", "exponential", "log_normal")]


@record
class Agreement(Record):
    """Whether codes are as toy data are."""

    sparsity: bool | None
    decay: bool | None
    independence: bool | None
    magnitudes: bool | None


@record
class Assumptions(Record):
    """What toy data assume, measured on codes."""

    active: Number | None
    decay: Decay
    dependence: Dependence
    magnitudes: Magnitudes
    agrees: Agreement


@record
class Law(Record):
    """A law fitted to values."""

    log_likelihood: Number | None
    parameters: Numbers


@record
class Fits(Record):
    """Which law describes the values best."""

    best: str | None
    laws: Annotated[dict[str, Law], ("normal", "laplace", "student_t", "generalised_normal")]
    histogram: Density | None


@record
class Spectrum(Record):
    """How the variance is spread over principal directions."""

    shares: Numbers
    participation_ratio: Number | None
    participation_ratio_standardised: Number | None


@record
class PrivilegedBasis(Record):
    """Excess kurtosis along dimensions and along random directions of standardised rows: means and medians."""

    along_basis: Number | None
    along_rotation: Number | None
    median_along_basis: Number | None
    median_along_rotation: Number | None


@record
class MassiveRows(Record):
    """Rows whose norm is above `bound` times the median; pairs are lists of two, the most frequent or largest first."""

    bound: Number
    median_norm: Number
    largest_norm: Number
    rows: int
    all_rows: int
    share_of_rows: Number
    share_of_variance: Number
    positions: list[list[int]]
    tokens: list[list[int]]
    dimensions: list[Numbers]
    left_out: bool
    token_texts: list[str] | None


@record
class LargestDimension(Record):
    """The dimension of the largest variance, over all harvested rows and over a sample without the massive ones."""

    dimension: int
    share: Number
    kept_dimension: int
    kept_share: Number


@record
class Activations(Record):
    """One harvested hook."""

    hook: str
    run: str | None  # in a comparison of several runs
    kind: str | None
    width: int | None
    rows: int | None
    mean_norm: Number | None
    zeros: Number | None
    small: Number | None
    histogram: Density | None
    kurtosis: Numbers | None
    variance: Numbers | None
    mean: Numbers | None
    skewness: Numbers | None
    norms: Counts | None
    position_norms: Numbers | None
    outlier_dimensions: list[int] | None
    massive: MassiveRows | None
    largest_dimension: LargestDimension | None
    fits: Fits | None
    spectrum: Spectrum | None
    privileged_basis: PrivilegedBasis | None
    toy: Assumptions | None
