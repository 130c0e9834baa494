"""The base class of every table of a configuration: strict and frozen."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """One table of the file; refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_list(value: Any) -> Any:
    """Let a single value stand for a list of one."""
    return value if isinstance(value, list) else [value]


def distinct(values: list[Any]) -> list[Any]:
    """Raise `ValueError` for an empty list, and where a value stands twice."""
    if not values or len(set(values)) < len(values):
        raise ValueError("list at least one value, each once")
    return values


def distinct_or_none(values: list[Any]) -> list[Any]:
    """Raise `ValueError` where a value stands twice."""
    return distinct(values) if values else values


OneOrMore = (BeforeValidator(as_list), AfterValidator(distinct))
