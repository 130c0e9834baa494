"""What `metrics.json` says of one dictionary."""

from typing import Annotated, Any

from analyze.format import Number
from analyze.schema.activations import Assumptions, Numbers, Quantiles
from analyze.schema.record import Record, record
from analyze.schema.truth import TruthScores

Sparsity = Annotated[dict[str, Number], ("k", "l1_coefficient", "l0_coefficient", "noise")]


@record
class FiringDensity(Record):
    """Latents by log10 of their firing rate, and how many never fired."""

    edges: Numbers
    counts: Numbers
    never: int


@record
class Loss(Record):
    """Cross-entropy of the next token, in nats, with the activations as they are and replaced."""

    clean: Number | None
    patched: Number | None
    zero: Number | None
    mean: Number | None
    recovered: Number | None
    recovered_mean: Number | None
    kl: Number | None


@record
class Baselines(Record):
    """The FVU of simpler codes."""

    pca: Number | None
    kmeans: Number | None
    random: Number | None
    untrained: Number | None


@record
class Convergence(Record):
    """Whether the dictionary had stopped learning, and how far it had come from its start by then."""

    slope: Number | None
    self_similarity: Number | None
    start_similarity: Number | None
    loss_share: Number | None
    converged: bool | None
    stalled: bool | None
    caveat: str | None
    reason: str | None
    held_at: Number | None


@record
class Curve(Record):
    """The training curve, one list for each quantity."""

    rows: Numbers
    loss: Numbers
    fvu: Numbers
    l0: Numbers
    dead: Numbers


@record
class Snapshots(Record):
    """The final features, looked up in every snapshot."""

    rows: Numbers
    similarity: Numbers
    recovered: Numbers


@record
class Dictionary(Record):
    """One dictionary: what it is, its quality, and what stands beside it."""

    path: str
    hook: str
    architecture: str
    n_latents: int
    d_model: int | None
    seed: int | None
    control: str | None
    sparsity: Sparsity | None
    options: dict[str, Any] | None
    learning_rate: Number | None
    rows: int | None
    l0: Number | None
    l0_quantiles: Quantiles | None
    fvu: Number | None
    fvu_all_rows: Number | None
    rows_left_out: int | None
    fvu_uncentred: Number | None
    fvu_rowwise: Number | None
    mse: Number | None
    l1: Number | None
    alive_fraction: Number | None
    dead_fraction: Number | None
    decoder_cosine: Number | None
    decoder_cosine_signed: Number | None
    density: FiringDensity | None
    ce: Loss | None
    baselines: Baselines | None
    shrinkage: Quantiles | None
    toy: Assumptions | None
    convergence: Convergence | None
    curve: Curve | None
    snapshots: Snapshots | None
    truth: TruthScores | None
