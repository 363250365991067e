"""What the votes say, in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill

import pandas as pd

from eval.human.comparison import ALL, KEPT, Comparison
from eval.human.power import points_resolved
from eval.human.questionnaire import Question
from eval.human.study import Study

WIDTH = 100
PER_CENT = "\N{NO-BREAK SPACE}%"  # or a line could begin with it
USUAL_AGREEMENT = 0.4  # α that is assumed before there are votes


def in_words(comparisons: Sequence[Comparison], ranks: pd.DataFrame, places: Mapping[str, str]) -> str:
    """A paragraph for every comparison and question, and the ranking. Without votes: what is waited for.

    ``places`` says of each comparison where its votes belong.
    """
    blocks = [block for comparison in comparisons for block in _comparison(comparison, places[comparison.name])]
    return "\n\n".join([*blocks, *_ranking(ranks)]) + "\n"


def _comparison(comparison: Comparison, place: str) -> Iterator[str]:
    study = comparison.study
    yield f"{comparison.name}: {study.first} against {study.second}"
    if not len(comparison.verdicts):
        yield _paragraph(_waiting(comparison.study, place))
    for question in study.questionnaire.questions:
        rows = comparison.verdicts[comparison.verdicts["question"] == question.id].set_index("raters")
        if len(rows):
            yield _paragraph(f'"{question.text}" {_verdict(study, question, rows)}')
    if len(comparison.verdicts):
        yield _paragraph(_panel(comparison))
    if len(comparison.votes.rejected):
        yield _rejected(comparison.votes.rejected)


def _paragraph(text: str) -> str:
    return fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def _waiting(study: Study, place: str) -> str:
    pairs = int((study.key["kind"] == "pair").sum())
    points = points_resolved(pairs, study.votes_per_pair, USUAL_AGREEMENT)
    would = f"would tell {50 + points}{PER_CENT} from 50{PER_CENT}" if points else "are too few to tell anything"
    return (
        f"Waiting for votes. {study.votes_per_pair} votes are wanted on each of {pairs} pairs; they {would} in four "
        f"studies of five, if people agree as usual (α = {USUAL_AGREEMENT:g}). Files of votes belong in {place}."
    )


def _verdict(study: Study, question: Question, rows: pd.DataFrame) -> str:
    """About one question; by the raters who were kept, if anybody was."""
    raters = KEPT if KEPT in rows.index else ALL
    row = rows.loc[raters]
    everybody = rows.loc[ALL]
    third = f', for "{question.tie}" in {row["ties"]}' if question.tie else ""
    sentences = [
        f"{study.first} was preferred in {_share(row, 'rate')} of the votes ({row['n']} pairs, {row['votes']} votes, "
        f"{row['num_raters']} raters{'; a tie is half a vote' if question.tie else ''}). "
        f"{_meaning(row, study.first, study.second)}",
        f"The majority was for {study.first} in {row['wins']} pairs, for {study.second} in {row['losses']}{third}, and "
        f"{row['no_majority']} had none: best of the votes, {study.first} wins {_share(row, 'majority')}.",
    ]
    if row["votes"] != everybody["votes"]:
        sentences.append(f"With everybody's votes: {_share(everybody, 'rate')}.")
    if row["shown_alike"]:
        sentences.append(
            f"Nobody was asked about {row['shown_alike']} captions more, for which both showed the same picture; as "
            f"ties they make it {100 * row['rate_of_all']:.1f}{PER_CENT}."
        )
    sentences.append(
        f"Agreement: Fleiss' κ {_number(row['kappa'])}, Krippendorff's α {_number(row['alpha'])} "
        f"({_number(row['alpha_low'])} to {_number(row['alpha_high'])}). Asked again, raters chose the same in "
        f"{_percent(row['self_agreement'])}. Left was chosen in {_percent(row['left'])}."
    )
    return " ".join(sentences)


def _meaning(row: pd.Series, first: str, second: str) -> str:
    if row["rate_low"] > 0.5:
        return f"People prefer {first}."
    if row["rate_high"] < 0.5:
        return f"People prefer {second}."
    return "That is not told apart from a coin toss."


def _panel(comparison: Comparison) -> str:
    """About the raters, and what is still missing."""
    out = [row for row in comparison.raters.itertuples() if row.left_out]
    named = "; ".join(f"{row.rater} ({row.reason})" for row in out)
    left_out = f"Left out: {named}." if out else "Nobody was left out."
    if len(out) == len(comparison.raters):
        left_out += " That is everybody: the numbers above are of all votes, and worth little."
    wanted = comparison.study.votes_per_pair
    asked = {question.id for question in comparison.study.questionnaire.questions}
    pairs = comparison.study.key.query("kind == 'pair'")["task_id"]
    votes = comparison.counting.groupby(["task_id", "question"]).size()
    short = sum(votes.get((task, question), 0) < wanted for task in pairs for question in sorted(asked))
    missing = f" {short} of {len(pairs) * len(asked)} questions have fewer than {wanted} votes." if short else ""
    return left_out + missing


def _rejected(rejected: pd.DataFrame) -> str:
    """How many rows were no votes, and the first few."""
    shown = [f"    {row.file}, line {row.line}: {row.reason}" for row in rejected.head(5).itertuples()]
    more = ["    … (all in tables/human_rejected.csv)"] if len(rejected) > len(shown) else []
    return "\n".join([f"  {len(rejected)} rows were no votes and are left out:", *shown, *more])


def _ranking(ranks: pd.DataFrame) -> Iterator[str]:
    for question, rows in ranks.groupby("question"):
        lines = [f"  {row.system}: {row.score:+.0f} ({row.low:+.0f} to {row.high:+.0f})" for row in rows.itertuples()]
        yield "\n".join([f"Ranking, {question} (Bradley–Terry, Elo's points, mean 0):", *lines])


def _share(row: pd.Series, name: str) -> str:
    return (
        f"{100 * row[name]:.1f}{PER_CENT} ({100 * row[f'{name}_low']:.1f} to {100 * row[f'{name}_high']:.1f}{PER_CENT})"
    )


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f}{PER_CENT}"
