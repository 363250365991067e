"""``eval "$(python -m workflow.completion)"``: bash completes ``python -m dalle …`` and ``python -m eval …``.

Offered are the commands and options of the two parsers, and elsewhere files.
"""

import argparse
from collections.abc import Iterator

import dalle.__main__
from eval.__main__ import parser as eval_parser

PARSERS = {"dalle": dalle.__main__.parser, "eval": eval_parser}
SCRIPT = """\
_dalle_bench() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} known=
    COMPREPLY=()
    case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
        "-m ") known="{sides}" ;;
{cases}
    esac
    [[ -z $known ]] || COMPREPLY=($(compgen -W "$known" -- "$word"))
}}
complete -o default -F _dalle_bench python python3
"""


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers below ``parser``, by their command."""
    (chosen,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(chosen.choices)


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """All options of a command, in the order of its help."""
    return [option for action in parser._actions for option in action.option_strings]


def cases() -> Iterator[str]:
    """What is offered after ``-m dalle`` and, once a dash is typed, after ``-m dalle sample``."""
    for side, parser in PARSERS.items():
        commands = commands_of(parser())
        yield f'"-m {side} ") known="{" ".join([*commands, *options_of(parser())])}" ;;'
        for command, its in commands.items():
            yield f'"-m {side} {command} "*) [[ $word != -* ]] || known="{" ".join(options_of(its))}" ;;'


def script() -> str:
    """For bash to read."""
    return SCRIPT.format(sides=" ".join(PARSERS), cases="\n".join(f"        {case}" for case in cases()))


if __name__ == "__main__":
    print(script(), end="")
