"""The keys of polytopes/clusters.json."""

from typing import Annotated

from analyze.format import Number
from analyze.schema.record import Record, key, record

KINDS = ("cluster", "ball", "ball_of_member", "neuron", "pca", "nmf", "random_direction", "random_rows")


@record
class Told(Record):
    """What clusters say of a label: entropies in bits, of the clusters and of permuted ones."""

    entropy: Number | None
    permuted: Number | None
    gain: Number | None
    z: Number | None


@record
class Gains(Record):
    """What clusters say of each label; None where no row is in a cluster."""

    token: Told | None
    next: Told | None
    prediction: Told | None


@record
class Grouped(Record):
    """Clusters of the model's rows, or of a control's."""

    clusters: int
    noise: Number | None
    median_size: Number | None
    gain: Gains
    beyond: Told | None


@record
class Stability(Record):
    """The adjusted Rand index of two clusterings, and the share of rows that are clustered in both."""

    ari: Number | None
    share: Number | None


@record
class Entropies(Record):
    """The quartiles of the entropies of some sets, in bits, and how many sets."""

    median: Number | None
    low: Number | None
    high: Number | None
    count: int


Kinds = Annotated[dict[str, Entropies], KINDS]


@record
class EntropiesByLabel(Record):
    """Of each label, entropies by kind of set."""

    token: Kinds
    next: Kinds
    prediction: Kinds


@record
class LatentEntropies(Record):
    """Of each label, the entropies of a dictionary's latents."""

    token: Entropies
    next: Entropies
    prediction: Entropies


@record
class Latents(Record):
    """The latents of a dictionary, beside clusters."""

    dictionary: str
    n_latents: int
    entropies: LatentEntropies


@record
class Context(Record):
    """A place in the text, and the tokens around it."""

    sequence: int
    position: int
    tokens: list[str]
    place: int = key("at")  # of the row's token among these


@record
class Example(Record):
    """One cluster, and places where it is."""

    cluster: int
    rows: int
    label: int
    text: str
    share: Number | None
    log10_p: Number | None
    contexts: list[Context]


@record
class Clustering(Grouped):
    """One clustering, and what stands beside it."""

    name: str
    representation: str
    layers: list[int]
    method: str
    stability: Stability
    entropies: EntropiesByLabel | None
    latents: list[Latents]
    controls: Annotated[dict[str, Grouped | None], ("untrained", "gaussian", "permuted")]
    examples: list[Example]


@record
class Clusters(Record):
    """Everything that polytopes/clusters.json has found."""

    rows: int
    files: dict[str, str]  # the rows with their clusters, by name: sha256
    tables: list[Clustering]
