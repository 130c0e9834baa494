"""What every table of a configuration is: strict, frozen, each of its settings described where it is defined."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """One table of the file; knows no key that it does not define."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
