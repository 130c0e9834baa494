"""Whether a changed row stays with its cluster: the cluster of the nearest row that is in one, itself left out."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from polytopes.reading.subject import Subject
from winnow.spline.codes import jaccard


def clustering_at(subject: Subject, layer: int) -> tuple[str | None, Int64[Tensor, " row"] | None]:
    """Give the name and the clusters of the clustering of a layer's codes, or of its activations; None for neither."""
    made = subject.clusters()
    for name in (f"code:{layer}", f"post:{layer}"):
        if name in made:
            return name, made[name].long()
    return None, None


@dataclass(frozen=True)
class NearestMember:
    """The clustering of a layer, and the rows that are in a cluster there."""

    hook: str  # whose values are compared
    by_code: bool
    cluster: Int64[Tensor, " row"]
    members: Int64[Tensor, " member"]
    rows: Tensor  # [member, n]

    @classmethod
    def of(cls, subject: Subject, layer: int) -> "NearestMember | None":
        """Open the clustering of a layer; None where it was not clustered, or where no row is in a cluster."""
        if layer not in subject.layers:
            return None
        name, cluster = clustering_at(subject, layer)
        if name is None or cluster is None or not (cluster >= 0).any():
            return None
        by_code = name.startswith("code")
        members = torch.nonzero(cluster >= 0).flatten()
        rows = (subject.code(layer) if by_code else subject.hidden(layer))[members]
        return cls(f"blocks.{layer}.mlp.hook_{'pre' if by_code else 'post'}", by_code, cluster, members, rows)

    @property
    def hooks(self) -> list[str]:
        return [self.hook]

    def stays(self, seen: Mapping[str, Tensor], factors: int, row: int) -> Bool[Tensor, " factor"] | None:
        """Say for the first variants, one a factor, whether they are nearest to the row's own cluster; None outside."""
        if self.cluster[row] < 0:
            return None
        others = self.members != row
        if not (self.cluster[self.members[others]] == self.cluster[row]).any():
            return None
        value = seen[self.hook][:factors].cpu()
        if self.by_code:
            distances = jaccard(value > 0, self.rows[others])
        else:
            distances = torch.cdist(value.double(), self.rows[others].double())
        nearest = self.members[others][distances.argmin(1)]
        return self.cluster[nearest] == self.cluster[row]
