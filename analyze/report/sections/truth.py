"""Truth: what is known of the data, how much of it each dictionary found, and when."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import count, decimal, percent, significant
from analyze.ladders import ladders_of
from analyze.report.section import Section, Table
from analyze.report.sections.truth_charts import truth_charts
from analyze.report.sections.verdict import verdict_charts, verdict_tables, verdict_words
from analyze.schema.metric import Metric, texts, titles
from analyze.schema.metrics import (
    ABSORBED,
    ABSORPTION,
    CHILDREN_F1,
    CHILDREN_MCC,
    DIMENSIONS_EACH,
    DIMENSIONS_RANDOM,
    F1,
    FEATURES,
    HEDGING,
    IN_OPPOSITE_PAIRS,
    L0,
    LARGEST_COSINE,
    LEARNED,
    MEAN_F1,
    MEAN_MCC,
    N_LATENTS,
    NEAREST_COSINE,
    NEAREST_RANDOM,
    PARENTS_F1,
    PARENTS_FOUND,
    PARENTS_MCC,
    PER_DIMENSION,
    PIECES,
    PRECISION,
    RECALL,
    ROWS_TO_HALF,
    SIZE_RATIO,
    SPLIT,
    TO_HEDGE,
    TRUE_CORRECTED,
    TRUE_FOUND,
    TRUE_ISOTROPIC,
    TRUE_MATCHED,
    TRUE_MMCS,
    TRUE_NULL,
    TRUE_NULL_ISOTROPIC,
)
from analyze.schema.record import measured

Record = Mapping[str, Any]
SCORES = (
    *(N_LATENTS, SIZE_RATIO, TRUE_MMCS, TRUE_NULL, TRUE_CORRECTED, LEARNED, TRUE_MATCHED, TRUE_FOUND),
    *(TRUE_NULL_ISOTROPIC, TRUE_ISOTROPIC, PRECISION, RECALL, F1, MEAN_F1, MEAN_MCC, HEDGING, TO_HEDGE, ROWS_TO_HALF),
)
TREES = (
    *(N_LATENTS, L0, PARENTS_FOUND, ABSORPTION, ABSORBED, SPLIT, PIECES),
    *(PARENTS_F1, CHILDREN_F1, PARENTS_MCC, CHILDREN_MCC),
)
GEOMETRY = (
    *(DIMENSIONS_EACH, DIMENSIONS_RANDOM, NEAREST_COSINE, NEAREST_RANDOM, LARGEST_COSINE),
    IN_OPPOSITE_PAIRS,
)
REGIMES = {
    "antipodal": "antipodal: most features lie in opposite pairs, two to a dimension",
    "interfering": "interfering: features overlap so much that every projection mixes many of them",
    "mild": "mild: features overlap, but can be told apart",
}
MAKERS = {
    "sphere": "as if they were drawn at random from the sphere",
    "learned": "as if an autoencoder that keeps features apart had learned them",
    "antipodal": "as if they were laid out in opposite pairs",
    None: "like none of the kinds that winnow makes",
}


def truth_section(metrics: Record) -> Section:
    if not metrics.get("truth"):
        return Section(name="truth", title="Truth")
    named = [(run["name"], run["truth"]) for run in metrics.get("runs") or [] if run["truth"]] or [
        ("", metrics["truth"])
    ]
    return Section(
        name="truth",
        title="Truth",
        paragraphs=[*(_in_words(name, truth) for name, truth in named), *verdict_words(metrics)],
        tables=[*_regimes(named), *_scores(metrics), *_structure(metrics), *verdict_tables(metrics)],
        charts=[*truth_charts(metrics), *verdict_charts(metrics)],
    )


def _in_words(name: str, truth: Record) -> str:
    regime, crowded = truth["regime"], truth["features_per_dimension"]
    return (
        f"{name + ': ' if name else ''}{count(truth['features'])} true features in {count(truth['d_model'])} "
        f"dimensions, {significant(crowded)} for each. The regime is {REGIMES[regime['name']]}. Dimensions per feature "
        f"{decimal(regime['dimensionality']['mean'])} (at random {decimal(regime['dimensionality_random'])}), nearest "
        f"other feature at a cosine of {decimal(regime['mean_max_cosine'])} (at random "
        f"{decimal(regime['mean_max_cosine_random'])}), {percent(regime['antipodal_share'])} in opposite pairs: the "
        f"directions look {MAKERS[regime['looks_like']]}.{_trees_in_words(truth)}"
    )


def _trees_in_words(truth: Record) -> str:
    trees = truth["trees"]
    if not trees:
        return ""
    together = "at most one fires in a row" if trees["siblings"] == "exclusive" else "they fire independently"
    return (
        f" {count(trees['children'])} features are children of {count(trees['parents'])} parents, in "
        f"{count(trees['roots'])} trees: a child fires only where its parent does, and of the children of one parent "
        f"{together}. Where a parent fires, {significant(trees['rows_with_child'], 2)} children fire on average."
    )


def _regimes(named: list[tuple[str, Record]]) -> list[Table]:
    table = Table(
        title="How the true features lie",
        how_to_read=(
            "Dimensions per feature (Elhage et al. 2022) are 1 for a feature by itself and ½ in an opposite pair; at "
            "random they depend only on the numbers of dimensions and features. Learned directions have a more "
            "distant nearest neighbour than random ones."
        ),
        columns=(
            *("data", *titles((FEATURES, PER_DIMENSION)), "regime", "looks", *titles(GEOMETRY), "firing rate, 5–95%"),
        ),
        groups={
            "": [
                (
                    name or truth["path"],
                    *texts(truth, (FEATURES, PER_DIMENSION)),
                    regime["name"],
                    regime["looks_like"] or "otherwise",
                    *texts(truth, GEOMETRY),
                    f"{percent(truth['firing_rates']['0.05'])} – {percent(truth['firing_rates']['0.95'])}",
                )
                for name, truth in named
                for regime in [truth["regime"]]
            ]
        },
    )
    return [table]


def _scores(metrics: Record) -> list[Table]:
    return _of_dictionaries(
        metrics,
        "truth",
        SCORES,
        title="How much of the truth was found",
        how_to_read=(
            "MMCS looks up every true feature among the alive latents, beside its chance level and corrected for it "
            "(isotropic: for uniform random directions, as most papers do). "
            "Back looks up every alive latent among the true features, so latents that are not true lower it. Matched "
            "pairs each feature with a latent of its own. Found are features with a latent at a cosine above 0.9. F1 "
            "says how well the firing of the nearest latent predicts the feature's (median feature, and mean); MCC, "
            "Matthews' correlation of the two firings, is 0 for a latent that fires at random. Hedging is "
            "how much of what usually comes with its feature a latent takes up, 0 for none and 1 for all; to hedge is "
            "how much that is."
        ),
    )


def _structure(metrics: Record) -> list[Table]:
    return _of_dictionaries(
        metrics,
        "truth.structure",
        TREES,
        title="What became of parents and children",
        how_to_read=(
            "A parent is found where a latent has a cosine above 0.9 with it. Absorption: of the rows on which a found "
            "parent fires with a child, the share on which the parent's latent is silent and the child's, whose "
            "direction carries the parent, fires in its place; mostly absorbed are parents of which that is true on "
            "more than half of those rows. Split are parents that are not found, but that the latents of at least two "
            "children carry: they are there in pieces. A perfect dictionary has neither."
        ),
    )


def _of_dictionaries(metrics: Record, path: str, shown: Sequence[Metric], title: str, how_to_read: str) -> list[Table]:
    """Make a table of the dictionaries of which `path` was measured, ladder by ladder; none without such."""
    known = ladders_of(metrics, lambda d: measured(d, path))
    groups = {label: [texts(d, shown) for d in dictionaries] for label, dictionaries in known.items()}
    return [Table(title=title, how_to_read=how_to_read, columns=titles(shown), groups=groups)] if known else []
