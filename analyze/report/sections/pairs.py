"""Every comparison of two sizes as tables: what their directions share, and what their latents do."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from analyze.format import NOT_MEASURED
from analyze.ladders import Pair
from analyze.report.section import Table
from analyze.report.sections.mmcs import ceiling_of
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import (
    ABOVE_07,
    ABOVE_09,
    ABOVE_CHANCE,
    BY_RANDOM,
    CHANCE,
    CHANCE_ISOTROPIC,
    CKA,
    CKA_NULL,
    CORRECTED,
    CORRECTED_ISOTROPIC,
    CORRELATION,
    EXPLAINED,
    JACCARD,
    JACCARD_NULL,
    MATCHED,
    MATCHED_PAIRS,
    MEDIAN_COSINE,
    MMCS,
    NOVEL,
    NOVEL_ITSELF,
    NOVELTY_AUC,
    OVERLAP,
    OVERLAP_NULL,
    PAIR_CORRELATION,
    SCALE_AWARE,
    SHARED,
    SVCCA,
    SVCCA_NULL,
    TO_SOURCE,
    TO_SOURCE_NULL,
    TO_TARGET,
    TO_TARGET_NULL,
    WITH_DEAD,
)
from analyze.schema.record import measured

COMPARED = (MMCS, CHANCE, CORRECTED)
MORE = (ABOVE_CHANCE, CHANCE_ISOTROPIC, CORRECTED_ISOTROPIC, WITH_DEAD, SCALE_AWARE, MEDIAN_COSINE)
MATCHING = (MMCS, CHANCE, MATCHED, ABOVE_09, ABOVE_07, SHARED)
FUNCTIONAL = (
    *(CORRELATION, JACCARD, JACCARD_NULL, TO_TARGET, TO_TARGET_NULL, TO_SOURCE, TO_SOURCE_NULL),
    *(NOVEL, NOVEL_ITSELF, NOVELTY_AUC, EXPLAINED, BY_RANDOM),
)


def pair_tables(groups: Mapping[str, Sequence[Pair]]) -> list[Table]:
    return [_matching(groups), *_functional(groups), *_subspaces(groups)]


def comparisons_table(metrics: Mapping[str, Any], groups: Mapping[str, Sequence[Pair]]) -> Table:
    return Table(
        title="Comparisons",
        how_to_read=(
            "Read each MMCS between its chance level (random vectors with the second moment of the first dictionary's "
            "own directions) and its ceiling (the same size trained with another seed): corrected MMCS is 0 at chance "
            "and rarely above the ceiling. Above chance counts latents whose cosine such vectors reach less than "
            "once in a hundred times. The isotropic columns take uniform random directions instead, as most papers "
            "do; they flatter dictionaries of unevenly filled activations. Scale-aware weights each latent by its "
            "contribution. The CSV has one row for each latent."
        ),
        columns=(*("from", "to", *titles(COMPARED), "ceiling, corrected", *titles(MORE), "per feature"),),
        groups={
            label: [
                (
                    *pair.ends,
                    *texts(pair.scores, COMPARED),
                    CORRECTED.form.write(ceiling_of(metrics, pair.scores["from"])),
                    *texts(pair.scores, MORE),
                    _features_link(pair),
                )
                for pair in pairs
            ]
            for label, pairs in groups.items()
        },
    )


def _features_link(pair: Pair) -> str:
    path = pair.scores["features_csv"]
    return Markup('<a href="{}">CSV</a>').format(quote(path)) if path else NOT_MEASURED


def _matching(groups: Mapping[str, Sequence[Pair]]) -> Table:
    return Table(
        title="One-to-one matching",
        how_to_read=(
            "Here each latent may be used only once. An MMCS far above the matched mean means that several latents "
            "have the same nearest latent, by duplication or splitting. Shared is the share of latents that the "
            "matchings on encoder and on decoder pair with the same partner, with both cosines at least 0.7."
        ),
        columns=("from", "to", *titles(MATCHING)),
        groups={
            label: [(*pair.ends, *texts(pair.scores, MATCHING)) for pair in pairs] for label, pairs in groups.items()
        },
    )


def _functional(groups: Mapping[str, Sequence[Pair]]) -> list[Table]:
    known = _with(groups, "functional")
    table = Table(
        title="Behaviour on the same rows",
        how_to_read=(
            "Each latent beside its nearest by decoder cosine. Equal directions that fire on different rows have a "
            "low correlation and a low Jaccard index. A child resembles its parent on the rows where the child fires, "
            "and less where the parent does. Chance is what latents of the same values would give if they fired "
            "independently. Novel latents lower the other dictionary's error when added to it, both "
            "at the gains with which they reconstruct best; beside it, the same share for a dictionary added to "
            "itself, the larger of the two. Above 2% the novelty is not shown, for it would only say that latents "
            "are too small. The ROC AUC says how well a low cosine predicts novelty (0.5 is useless). Explained is "
            "the share of the directions that four of the other dictionary's reproduce, beside four random ones."
        ),
        columns=("from", "to", *titles(FUNCTIONAL)),
        groups={
            label: [(*pair.ends, *texts(pair.scores, FUNCTIONAL)) for pair in pairs] for label, pairs in known.items()
        },
    )
    return [table] if known else []


def _subspaces(groups: Mapping[str, Sequence[Pair]]) -> list[Table]:
    upwards = {
        label: [p for p in pairs if p.source["n_latents"] < p.target["n_latents"]]
        for label, pairs in _with(groups, "subspaces").items()
    }
    known = {label: pairs for label, pairs in upwards.items() if pairs}
    table = Table(
        title="Subspaces that matched latents span",
        how_to_read=(
            "Latents are paired by the correlation of their activations. CKA and SVCCA ask whether paired directions "
            "have the same geometry; overlap asks whether the leading subspaces coincide. Each stands beside its "
            "value for random pairings or random subspaces; p is the probability of reaching the score by chance."
        ),
        columns=(
            *("from", "to", *titles((MATCHED_PAIRS, PAIR_CORRELATION, CKA, CKA_NULL)), "p"),
            *(*titles((SVCCA, SVCCA_NULL)), "p", "dimensions", *titles((OVERLAP, OVERLAP_NULL)), "p"),
        ),
        groups={
            label: [
                (
                    *pair.ends,
                    *texts(pair.scores, (MATCHED_PAIRS, PAIR_CORRELATION, CKA, CKA_NULL)),
                    _probability(pair, "cka"),
                    *texts(pair.scores, (SVCCA, SVCCA_NULL)),
                    _probability(pair, "svcca"),
                    " and ".join(map(str, measured(pair.scores, "subspaces.angles.dimensions") or [])),
                    *texts(pair.scores, (OVERLAP, OVERLAP_NULL)),
                    _probability(pair, "angles.overlap"),
                )
                for pair in pairs
            ]
            for label, pairs in known.items()
        },
    )
    return [table] if known else []


def _probability(pair: Pair, key: str) -> str:
    p = measured(pair.scores, f"subspaces.{key}.p")
    return NOT_MEASURED if p is None else f"{p:.1g}"


def _with(groups: Mapping[str, Sequence[Pair]], key: str) -> dict[str, list[Pair]]:
    """Keep the pairs of which something was measured, and the groups that have such."""
    known = {label: [pair for pair in pairs if measured(pair.scores, key)] for label, pairs in groups.items()}
    return {label: pairs for label, pairs in known.items() if pairs}
