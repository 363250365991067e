"""``python -m eval score FOLDER …``: one judgement. ``python -m eval doctor``: is this installation right?"""

# PYTHON_ARGCOMPLETE_OK
import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import argcomplete

EXAMPLES = {
    "score": "python -m eval score samples --captions captions.csv --reference photos --protocol fid.tf-compat@1",
    "doctor": "python -m eval doctor --weights inception-2015-12-05=weights-inception-2015-12-05-6726825d.pth",
}


def parser() -> argparse.ArgumentParser:
    """Both commands and their options."""
    about = "Judges pictures of any text-to-image system."
    examples = {name: f"For example: {example}" for name, example in EXAMPLES.items()}
    commands = argparse.ArgumentParser("python -m eval", description=about, epilog=examples["score"])
    chosen = commands.add_subparsers(dest="command", required=True, metavar="{score,doctor}")
    score = chosen.add_parser("score", help="judge a folder of pictures", epilog=examples["score"])
    add = score.add_argument
    add("pictures", type=Path, metavar="FOLDER", help="PNG, JPEG or WebP files, or a parquet file with pictures")
    add("--captions", type=Path, metavar="CSV", help="columns file and prompt_id or caption: what each picture answers")
    add("--reference", type=Path, metavar="FOLDER", help="the pictures to compare with")
    add("--protocol", action="append", metavar="LABEL", help="may be repeated (default: fid.imagenet-lite@1)")
    add("--blur", type=float, default=0, metavar="R", help="Gaussian radius in pixels of a 256-pixel picture")
    add("--blur-protocol", default="blur.pil@1", metavar="LABEL", help="what a radius means (default: %(default)s)")
    add("--weights", action="append", default=[], metavar="NETWORK=PATH", help="a network's weights, may be repeated")
    add("--replicates", type=int, default=200, metavar="B", help="resamples for the intervals (default: %(default)s)")
    add("--seed", type=int, default=0, help="of resamples and subsets (default: %(default)s)")
    add("--store", type=Path, metavar="FOLDER", help="keep features there, for the next time")
    add("--csv", type=Path, metavar="FILE", help="write the table there too")
    doctor = chosen.add_parser("doctor", help="prove this installation against fixtures", epilog=examples["doctor"])
    doctor.add_argument("--weights", action="append", default=[], metavar="NETWORK=PATH", help="check these files too")
    return commands


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after a line that says what is wrong."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    commands = parser()
    argcomplete.autocomplete(commands)  # in a shell that asks what could come next; else nothing
    asked = commands.parse_args(arguments)
    try:
        return {"score": score, "doctor": doctor}[asked.command](asked)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def score(asked: argparse.Namespace) -> int:
    """Judges and prints the table."""
    from eval.judge import Question, judge
    from eval.sweep import Rules

    labels = tuple(asked.protocol or ["fid.imagenet-lite@1"])
    rules = Rules(labels, asked.blur_protocol, asked.replicates, asked.seed)
    weights = weights_of(asked.weights)
    table = judge(Question(asked.pictures, asked.reference, asked.captions, rules, asked.blur, weights), asked.store)
    print_table(table)
    if asked.csv is not None:
        from dalle.provenance import atomic

        with atomic(asked.csv) as temporary:
            table.to_csv(temporary, index=False)
    return 0


def doctor(asked: argparse.Namespace) -> int:
    """Prints every check; status 1 if one failed."""
    from eval.doctor import examine

    return examine(weights_of(asked.weights))


def weights_of(pairs: Sequence[str]) -> dict[str, str]:
    """{network: path} of ``NETWORK=PATH`` words. Raises ValueError for a word without ``=``."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"--weights {pair}: allowed is NETWORK=PATH")
    return dict(pair.split("=", 1) for pair in pairs)


def print_table(table: "DataFrame") -> None:  # noqa: F821
    """The numbers as a table, every warning once below it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("protocol", "metric", "N", "value", "95 % interval", "n", "reference"):
        shown.add_column(heading, no_wrap=True, justify="left" if heading in ("protocol", "metric") else "right")
    for row in table.itertuples():
        numbers = [f"{row.value:.4g}", f"{row.low:.4g} – {row.high:.4g}"]
        sizes = [f"{row.n:,}", f"{row.n_reference:,}" if row.n_reference else ""]
        shown.add_row(row.protocol, row.metric, str(row.n_candidates), *numbers, *sizes)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if (table["blur"] > 0).any():
        console.print(
            f"Both sides blurred: radius {table['blur'].max():g}, {table['blur_protocol'].max()}", markup=False
        )
    console.print(shown)
    for warning in sorted(set(table["warning"]) - {""}):
        console.print(f"Warning: {warning}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
