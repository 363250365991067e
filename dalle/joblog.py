"""A job of the workflow says the same in the terminal and in its log; the traceback of a failure is in the log."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO


class Both:
    """A text stream that writes to ``streams``. It is no terminal, so progress comes in lines and fits a log."""

    encoding = "utf-8"

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        """All of ``text`` goes to every stream."""
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        """Never."""
        return False


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Whatever the block prints goes to the terminal and to the file ``path``, made anew; a failure ends the process.

    The traceback of a failure is written to ``path``. The terminal gets it too, except for a ValueError: that is wrong
    input, and its one line says what was given and what is allowed. Ctrl-C is no failure and has no traceback.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        try:
            with redirect_stdout(Both(sys.stdout, log)), redirect_stderr(Both(sys.stderr, log)):
                yield
        except ValueError as error:
            traceback.print_exc(file=log)
            sys.exit(f"ValueError: {error} (traceback: {path})")
        except KeyboardInterrupt:
            sys.exit("interrupted")
        except BaseException:
            traceback.print_exc(file=log)
            raise
