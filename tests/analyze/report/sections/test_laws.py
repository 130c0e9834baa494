"""The laws drawn over the values are those that were fitted."""

import pytest

from analyze.activations.laws import LAWS
from analyze.report.sections.laws import density

PARAMETERS = {
    "normal": (0.3, 1.2),
    "laplace": (-0.1, 0.7),
    "student_t": (4.5, 0.2, 0.9),
    "generalised_normal": (1.4, 0.1, 1.1),
}


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("x", [-6.0, -0.5, 0.0, 0.2, 3.0])
def test_density_of_a_law_is_scipys(law: str, x: float) -> None:
    assert density(law, PARAMETERS[law], x) == pytest.approx(LAWS[law].pdf(x, *PARAMETERS[law]), rel=1e-9)
