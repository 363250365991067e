"""A job of the workflow says the same in the terminal and in its log; the traceback of a failure is in the log."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

from dalle.provenance import clear_leftovers
from dalle.receipts import receipt_beside, write_receipt
from dalle.seals import check_seals, seal

QUIET = "DALLE_BENCH_QUIET_JOBS"  # if this environment variable is set, the words of jobs go to their logs alone
# What no program can help: disk or quota full, too large a file, no right to write, a dying disk.
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


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
def job(snakemake: Any) -> Iterator[None]:
    """The work of a job of the workflow: its words go to its log, and only what is as it was made is worked on.

    The files that it made are sealed (:mod:`dalle.seals`), below the folder in which ``logs`` lies; beside its log it
    leaves a receipt (:mod:`dalle.receipts`). An input that does not fit its seal ends the job as :func:`job_log` says.
    A job that did not finish has no receipt, not even that of an earlier try.
    """
    log = Path(snakemake.log[0])
    results = next(folder.parent for folder in log.parents if folder.name == "logs")
    with job_log(log):
        for output in snakemake.output:
            clear_leftovers(output)
        receipt_beside(log).unlink(missing_ok=True)
        check_seals(snakemake.input, results)
        yield
        write_receipt(snakemake, results, seal(snakemake.output, results))


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Whatever the block prints goes to the terminal and to the file ``path``, made anew; a failure ends the process.

    The traceback of a failure is written to ``path``. The terminal gets it too, except for a ValueError, which is wrong
    input, and for a machine that does not let write: their one line says what is wrong. Ctrl-C and SIGTERM are no
    failure and have no traceback.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    log = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGTERM, _stop)
    try:
        with redirect_stdout(_heard(sys.stdout, log)), redirect_stderr(_heard(sys.stderr, log)):
            yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except SystemExit:
        raise
    except BaseException as error:
        with suppress(OSError):  # the log's disk may be the full one
            traceback.print_exc(file=log)
        if isinstance(error, ValueError) or (isinstance(error, OSError) and error.errno in MACHINE):
            sys.exit(f"{type(error).__name__}: {error} (traceback: {path})")
        raise
    finally:
        with suppress(OSError):
            log.close()


def _heard(terminal: TextIO, log: TextIO) -> Both:
    return Both(log) if QUIET in os.environ else Both(terminal, log)


def _stop(*_: Any) -> None:
    """What is open is closed and half-written files go, as after Ctrl-C; nothing disturbs that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("stopped by SIGTERM")
