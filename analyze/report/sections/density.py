"""How often latents fire: a histogram per ladder."""

from collections.abc import Mapping
from typing import Any

from analyze.format import count
from analyze.ladders import ladders
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.schema.record import measured


def density_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Make one chart per ladder: how often its latents fire."""
    charts = []
    for number, (ladder, dictionaries) in enumerate(ladders(metrics).items()):
        series = tuple(
            Series(
                name=f"{count(d['n_latents'])} latents ({count(density.get('never'))} never)",
                x=density["edges"],
                y=[100 * c / d["n_latents"] for c in density["counts"]],
                mark="bins",
            )
            for d in dictionaries
            if (density := measured(d, "density"))
        )
        if series:
            charts.append(
                Chart(
                    name=f"density-{number:02d}",
                    title="How often latents fire",
                    how_to_read=(
                        "A histogram of the latents by the share of evaluation rows on which they fire (−2 is one "
                        "row in a hundred); a lump at the left is nearly dead, latents near 0 fire always and tell "
                        "little. Those that never fired have no place on this axis and are counted in the legend."
                    ),
                    panels=(
                        Panel(
                            title=ladder.label,
                            x=Axis(title="log10 of the firing rate"),
                            y=Axis(title="latents (% per bin)", from_zero=True),
                            series=series,
                        ),
                    ),
                    family="density",
                    choice=ladder.label,
                )
            )
    return charts
