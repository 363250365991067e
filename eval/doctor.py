"""``python -m eval doctor``: does this installation find the numbers that it should? Nothing is downloaded."""

from functools import partial

from eval.golden.check import Check
from eval.golden.installation import ABSENT, SHIPPED, check_fixtures, check_versions, weights_checks
from eval.golden.judges import judge_checks
from eval.golden.metrics import check_bootstrap, check_fid, check_inception_score, check_kid, check_manifold
from eval.golden.pictures import SIGMAS, check_blur, check_decoding, check_features, check_kernel, check_levels
from eval.pixels import KERNELS

MARKS = {True: "[green]✓", False: "[red]✗", None: "[yellow]–"}
FOOTNOTE = (
    "Weights that are not at hand: where there is internet, the library downloads them when a protocol first asks for "
    "them. Or give the file: --weights NETWORK=PATH"
)


def examine(weights: dict[str, str]) -> int:
    """Prints every check and what came of it. 0 if none failed, else 1.

    ``weights`` are files by network, to be checked too. Raises ValueError for a network that no protocol has.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = Console(highlight=False)
    table, outcomes = Table("check", Column("result", overflow="fold"), ""), []
    for check in checks(weights):
        with console.status(check.name):
            outcomes.append(check.outcome())
        is_right, reason = outcomes[-1]
        table.add_row(check.name, escape(reason), MARKS[is_right])
    console.print(table)
    if any(reason.startswith(ABSENT) for _, reason in outcomes):
        console.print(FOOTNOTE, style="yellow", soft_wrap=True)
    num_failed = sum(is_right is False for is_right, _ in outcomes)
    console.print(f"[red]{num_failed} of {len(outcomes)} checks failed" if num_failed else "[green]all green")
    return 1 if num_failed else 0


def checks(weights: dict[str, str]) -> list[Check]:
    """All of them, in the order in which pictures become numbers."""
    return [
        Check("fixtures", check_fixtures),
        Check("versions", check_versions),
        *weights_checks(weights),
        Check("uint8 path", check_levels),
        Check("decoding", check_decoding),
        *(Check(f"kernel: {name}", partial(check_kernel, name)) for name in KERNELS),
        *(Check(name, partial(check_blur, name)) for name in SIGMAS),
        Check("features", partial(check_features, weights.get(SHIPPED))),
        Check("inception score", check_inception_score),
        Check("FID", check_fid),
        Check("KID", check_kid),
        Check("precision, recall", check_manifold),
        *judge_checks(weights),
        Check("bootstrap", check_bootstrap),
    ]
