"""The table of experiments: which module makes each, and what it depends on.

The module of an experiment has a function

    def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]

whose docstring names the keys of its result. The result is ready for JSON: numbers, strings, lists, dictionaries, and
arrays and tensors, which become lists; NaN becomes null. It is the same for the same subject and settings. Modules are
imported when they are called, since they load torch.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytopes.reading.subject import Subject
    from winnow.config.polytopes import PolytopesSettings


@dataclass(frozen=True)
class Entry:
    """One experiment.

    settings: the keys of `[polytopes]` that it depends on, beside `layers`, `rows` and `positions`; a table stands for
    all of its keys. after: experiments that it reads where they are there, so it is made after them, and again where
    they change. dictionaries: hooks, with wildcards, whose finished dictionaries it reads.
    """

    module: str  # in polytopes/experiments
    settings: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    dictionaries: tuple[str, ...] = ()
    version: int = 1  # raise it when a definition changes: the experiment is then made again

    def measure(self, subject: "Subject", settings: "PolytopesSettings") -> dict[str, Any]:
        """Make the experiment."""
        return import_module(f"polytopes.experiments.{self.module}").measure(subject, settings)


# In the order in which they are made.
EXPERIMENTS = {
    "codes": Entry("codes", ("untrained",)),
    "clusters": Entry("clusters", ("untrained", "clusters"), dictionaries=("blocks.*.mlp.hook_post",), version=2),
    "maps": Entry("maps", ("untrained",)),
    "scaling": Entry("scaling", ("scaling",), after=("clusters",)),
    "density": Entry("density", ("untrained", "density")),
    "radius": Entry("radius", ("untrained",)),
    "regions": Entry("regions", ("regions",)),
    "adversaries": Entry("adversaries", ("adversaries",)),
}
