"""How far two numbers of one row may lie apart: not at all on one machine, by stated amounts across machines.

Between machines, or versions of the packages, sums are rounded differently. Where both judge the same pictures with the
same network, this moves a number in its last digits: the relative tolerance. A training carries it on, and after some
hundred updates two machines have two models, as if they had two seeds. Rows that a training enters therefore agree if
they differ by at most √(h₁² + h₂²), where h is half of a row's 95 % interval, or by the metric's floor if that is more.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tolerance:
    """Of one metric: ``relative`` for rows that no training enters, ``floor``, in the metric's unit, for the others."""

    relative: float
    floor: float


OTHERS = Tolerance(relative=1e-3, floor=0.0)
SHARES = ("precision", "recall", "density", "coverage", "grounded", "grounded_any", "r_precision")
ACROSS = {
    **dict.fromkeys(SHARES, Tolerance(relative=1e-3, floor=0.02)),
    "fid": Tolerance(relative=1e-3, floor=2.0),
    "fid_infinity": Tolerance(relative=1e-2, floor=5.0),
    "kid": Tolerance(relative=1e-3, floor=0.01),
    "inception_score": Tolerance(relative=1e-3, floor=0.05),
    "psnr": Tolerance(relative=1e-3, floor=0.5),
}
# Systems whose pictures come from what was trained here, and protocols whose judge was.
TRAINED_SYSTEMS = ("dalle1", "dvae", "dvae_start", "shuffled")
TRAINED_JUDGE = "clip.own@"


def is_trained(rows: "pd.DataFrame") -> "pd.Series":
    """Whether a training of the experiment enters a row, by its system, the other system if any, and protocol."""
    systems = [rows[column].isin(TRAINED_SYSTEMS) for column in ("system", "other") if column in rows]
    return sum(systems, rows["protocol"].str.startswith(TRAINED_JUDGE)) > 0


def allowed_across(pairs: "pd.DataFrame") -> "pd.Series":
    """The largest difference of each pair of rows across machines; columns are those of a table, twice.

    A pair without intervals has the floor alone.
    """
    tolerances = pairs["metric"].map(lambda metric: ACROSS.get(metric, OTHERS))
    halves = [(pairs[f"high_{side}"] - pairs[f"low_{side}"]) / 2 for side in "ab"]
    spread = (halves[0] ** 2 + halves[1] ** 2) ** 0.5
    floor = tolerances.map(lambda tolerance: tolerance.floor)
    relative = tolerances.map(lambda tolerance: tolerance.relative) * pairs[["value_a", "value_b"]].abs().max(axis=1)
    return relative.where(~is_trained(pairs), spread.fillna(0).clip(lower=floor))
