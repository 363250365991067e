"""kill -9 of a whole run, again and again, until every rule has met it and the run has ended all the same."""

import random
import shutil
from collections import Counter
from time import sleep

from workflow.torture.project import Project, kill, running_rules, wait_until

START, REACH = 2.0, 6.0  # seconds: when the first kill may come, and how long after the start of its job at most


def killed_run(project: Project, kills: int, seed: int) -> Counter[str]:
    """How often each rule was running when its run was killed; the run was gone on with each time, to the end.

    A kill falls at a random moment of a job whose rule was not killed yet, or of any once all were. If the run ends
    before its last kill, it begins anew.
    """
    rng, met, known = random.Random(seed), Counter(), project.rules()
    for _ in range(kills):
        wait = 60.0 if known - met.keys() else 5.0  # a run that has met all rules need not be waited for
        while not (rules := _kill_once(project, met, rng, wait)):
            _begin_anew(project)
        met.update(rules)
        project.unlock()
    project.go_on()
    return met


def _kill_once(project: Project, met: Counter[str], rng: random.Random, wait: float) -> set[str]:
    """Starts, kills, and says which rules that met; none if the run had ended.

    ``wait`` is how long it looks for a rule that was not met yet, seconds.
    """
    group = project.start()
    wait_until(lambda: False, group, rng.uniform(START, 2 * START))
    wait_until(lambda: running_rules(group) - met.keys(), group, wait)
    sleep(rng.uniform(0, REACH) * rng.random())  # early in a job more often: most are short
    if group.poll():
        raise RuntimeError(f"the run in {project.folder} failed: see its torture.log")
    if group.poll() == 0:
        return set()
    rules = running_rules(group)
    kill(group)
    return rules or {"(between jobs)"}


def _begin_anew(project: Project) -> None:
    for name in ("results", ".snakemake"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
