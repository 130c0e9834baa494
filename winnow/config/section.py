"""The base class of every table of a configuration: strict and frozen."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Bounds far beyond any use: what exceeds one is a slip, and is named before anything is allocated or computed.
Count = Annotated[int, Field(gt=0, le=10**13)]  # of rows, tokens, sequences: on disk
Size = Annotated[int, Field(gt=0, le=2**27)]  # of what is held in memory
Natural = Annotated[int, Field(ge=0, le=10**13)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """One table of the file; refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
