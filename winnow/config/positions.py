"""Which positions of a sequence are kept: a table that several sections have."""

from pydantic import Field, model_validator

from winnow.config.section import Count, Natural, Section


class PositionPolicy(Section):
    """Which positions of a sequence are kept."""

    skip_first: Natural = Field(default=0, description="leave out this many positions at the start")
    evenly: Count | None = Field(default=None, description="then keep so many, evenly spread")
    random: Count | None = Field(default=None, description="or so many, drawn anew per sequence from the seed")
    drop_tokens: list[Natural] = Field(default=[], description="leave out positions that hold these token ids")

    @model_validator(mode="after")
    def _one_choice(self) -> "PositionPolicy":
        if self.evenly and self.random:
            raise ValueError("choose evenly or random, not both")
        return self

    def refuse_beyond(self, context: int, key: str) -> None:
        """Raise `ValueError` naming the setting `key` where a sequence has fewer positions than are asked for."""
        left = context - self.skip_first
        wanted = self.evenly or self.random or 1
        if wanted > left:
            raise ValueError(
                f"{key}: {wanted} of {left} positions are asked for (text.context = {context}, skip_first = "
                f"{self.skip_first}); skip or keep fewer"
            )
