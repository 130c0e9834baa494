"""The verdict on clusters: whether they say more than the token, beside what their controls say."""

from collections.abc import Iterator, Mapping, Sequence

from analyze.format import Number, decimal, listing, percent, significant
from analyze.schema.polytopes.clusters import Clustering, Grouped

REDRAWN = ("gaussian", "permuted")
NO_EVIDENCE = 3  # standard deviations
HALF = 0.5  # of the model's gain


def redrawn_of(table: Clustering) -> tuple[str, Grouped | None]:
    """Return the rows that have lost what clusters are made of, and what they are called."""
    name = next((name for name in REDRAWN if name in table.controls), REDRAWN[0])
    return ("Gaussian rows" if name == REDRAWN[0] else "permuted codes"), table.controls.get(name)


def clusters_verdict(tables: Sequence[Clustering]) -> str:
    judged = {table.name: table for table in tables if table.beyond is not None}
    if not judged:
        return "No row is in a cluster, so there is nothing to judge."
    more = [name for name, table in judged.items() if _z(table) > NO_EVIDENCE]
    doubtful = [name for name in more if any(_z(one) > NO_EVIDENCE for one in _controls(judged[name]).values() if one)]
    said = []
    if more:
        said.append(f"Clusters say more than which token it is at {listing([_beside(judged[name]) for name in more])}.")
    if doubtful:
        said.append(f"At {listing(doubtful)} a control says as much, so it is no evidence there.")
    if less := [_beside(judged[name]) for name in judged if name not in more]:
        said.append(f"They say which token it is, and nothing more, at {listing(less)}.")
    said += [*_against_balls(judged), *_token_alone(tables)]
    return " ".join(said)


def _controls(table: Clustering) -> dict[str, Grouped | None]:
    name, redrawn = redrawn_of(table)
    return {"twin": table.controls["untrained"], name: redrawn}


def _z(one: Grouped) -> Number:
    return one.beyond.z if one.beyond is not None and one.beyond.z is not None else 0.0


def _beside(table: Clustering) -> str:
    """Name a clustering with its z beyond the token, the controls' in brackets, and the share of rows it holds."""
    controls = [
        f"{name} {significant(one.beyond.z) if one.beyond else 'none, no cluster'}"
        for name, one in _controls(table).items()
        if one is not None
    ]
    held = percent(None if table.noise is None else 1 - table.noise)
    beside = f"; {'; '.join(controls)}" if controls else "; no control was measured"
    return f"{table.name} (z = {significant(_z(table))}{beside}; {held} of the rows)"


def _against_balls(tables: Mapping[str, Clustering]) -> Iterator[str]:
    """Compare the entropy of the prediction in clusters with that in balls round their members."""
    purer, others = [], []
    for name, table in tables.items():
        if table.entropies is None:
            continue
        own, ball = (table.entropies.prediction[kind].median for kind in ("cluster", "ball_of_member"))
        if own is not None and ball is not None:
            text = f"{name} ({significant(own)} against {significant(ball)} bits)"
            (purer if own < ball else others).append(text)
    if purer:
        yield f"In the prediction they are purer than balls round their members at {listing(purer)}."
    if others:
        yield f"Balls round their members are as pure or purer at {listing(others)}: there a small region explains it."


def _token_alone(tables: Sequence[Clustering]) -> Iterator[str]:
    pairs = [
        (table.name, table.gain.token, other.gain.token)
        for table in tables
        if table.gain.token and (other := table.controls["untrained"]) and other.gain.token
    ]
    shared = [
        f"{name} {decimal(own.gain, 2)} and {decimal(twin.gain, 2)}"
        for name, own, twin in pairs
        if (twin.z or 0) > NO_EVIDENCE
    ]
    if shared:
        much = any((twin.gain or 0) > HALF * (own.gain or 0) for _, own, twin in pairs)
        yield (
            f"Token purity alone is no evidence: an untrained twin has {'it' if much else 'some of it'} too "
            f"(gain of the token, model and twin: {listing(shared)})."
        )
    elif pairs:
        yield "The untrained twin's clusters say nothing of the token."
