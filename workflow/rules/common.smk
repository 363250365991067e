"""What the rules share: the validated experiment, its names, and small pure functions. No rule stands here.

A rule's ``params`` hold the part of the settings that its script uses and ``code``, a digest of all the project's code
that the script runs. Snakemake reruns a job when its params change, so a job reruns when it would do something else.
"""

import logging
import os
import re
import signal
import sys
from itertools import product
from pathlib import Path

import psutil
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger

from dalle.config.reading import load_config, read_yaml
from dalle.imports import code_of
from eval.human.questionnaire import load_questionnaire
from eval.protocols.protocol import BlurProtocol, ClipProtocol, FidProtocol, IsProtocol, load_protocol

# Systems whose pictures differ. `shuffled` shows dalle1's under other captions, so it has no features of its own.
RECONSTRUCTIONS = {"dvae": "weights", "dvae_start": "start"}
PICTURED = ["dalle1", "real", *RECONSTRUCTIONS]
# A candidate is the same whatever these are: when they change, those already drawn stay.
UNSEEN_BY_CANDIDATES = ["n_candidates", "rows"]
# Jobs inherit these; what the shell already sets stays. Waiting threads sleep: spinning starves the neighbouring job.
JOB_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "MPLBACKEND": "Agg",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


def read_experiment(values):
    """The typed settings. A mistake ends the run before any job, in one line that names the key."""
    try:
        return load_config(values)
    except ValueError as error:
        sys.exit(f"Error: {error}")  # a WorkflowError would bury the line in places of this file


def refuse_templates(files):
    """Snakemake runs Python that a YAML file with the key __use_yte__ asks for: ours are data, and are to stay so."""
    for file in files:
        try:
            values = read_yaml(file)
        except ValueError as error:
            sys.exit(f"Error: config file {error}")
        if isinstance(values, dict) and "__use_yte__" in values:
            sys.exit(f"Error: config file {file}: __use_yte__ makes it a program; allowed are values alone")


def read_protocols(settings):
    """The protocols of the settings and the spaces they need, by label. A mistake ends the run as in the settings."""
    try:
        named = [load_protocol(label) for label in settings.protocols]
        if idle := [protocol.label for protocol in named if isinstance(protocol, BlurProtocol)]:
            raise ValueError(f"protocols: {idle[0]} measures nothing; allowed are fid.*, is.*, clip.*")
        spaces = [load_protocol(protocol.features_of) for protocol in named if isinstance(protocol, IsProtocol)]
        blur = load_protocol(settings.blur_protocol, BlurProtocol)
        return {protocol.label: protocol for protocol in [*named, *spaces, blur]}
    except ValueError as error:
        sys.exit(f"Error: config key evaluation: {error}")


def read_questionnaire(name):
    """What people are asked. A mistake ends the run as in the settings."""
    try:
        return load_questionnaire(name)
    except ValueError as error:
        sys.exit(f"Error: config key human: {error}")


def read_comparisons():
    """The two systems of each comparison by people, each with its N or None. A mistake ends the run as elsewhere."""
    chosen = {system: experiment.sampling.n_candidates for system in ("dalle1", "shuffled")}
    allowed = dict.fromkeys(PICTURED, (1,)) | chosen  # of strangers' pictures only the job can know
    known = [*allowed, *(system for system, suite in EXTERNAL.items() if suite == "val")]
    for name, sides_of_it in experiment.human.sides.items():
        for system, n in sides_of_it:
            if system not in known:
                sys.exit(
                    f"Error: config key human.comparisons.{name}: no system {system} in suite val; known are {known}"
                )
            if n and n not in allowed.get(system, (n,)):
                sys.exit(f"Error: config key human.comparisons.{name}: {system}@{n}; allowed N are {allowed[system]}")
    return experiment.human.sides


def place_of_votes(pair):
    """The folder that votes on a comparison belong in. It is not below results: `make clean` must not take it."""
    return Path(experiment.human.votes, experiment.experiment, pair).as_posix()


def votes_of(pair):
    """The files of votes on a comparison that are there."""
    return sorted(
        str(file) for file in Path(place_of_votes(pair)).glob("*") if file.suffix.lower() in (".csv", ".json")
    )


def of_family(kind):
    """The labels of the protocols of one family."""
    return [label for label, protocol in PROTOCOLS.items() if isinstance(protocol, kind)]


def archive_of(source, suite):
    """The image archive of a system, or of the pictures that all systems are compared with."""
    return REFERENCE.format(suite=suite) if source == "reference" else f"<results>/systems/{source}/{suite}.parquet"


def given_weights(network):
    """The file of a network's weights if the settings name one, else nothing."""
    return [experiment.evaluation.weights[network]] if network in experiment.evaluation.weights else []


def imported_dvae():
    """The files of the imported dVAE if the settings name one, else nothing."""
    folder = experiment.dvae.weights
    return [f"{folder}/{name}" for name in ("model.json", "weights.safetensors")] if folder else []


def reranker_files():
    """What the reranker is made of: the model trained here and its tokenizer, a given checkpoint, or a mere name."""
    if experiment.rerank.model == "own":
        return ["<results>/clip/weights.safetensors", "<results>/tokenizer/tokenizer.json"]
    return [experiment.rerank.checkpoint] if experiment.rerank.checkpoint else []


def slice_of(settings, without=()):
    """One group of settings as plain values, which Snakemake can compare and a script can validate again."""
    return settings.model_dump(mode="json", exclude=set(without))


def untracked(value):
    """A param that reruns nothing when it changes: Snakemake takes a function of the input to add no news."""
    return lambda wildcards, input: value


def sides(pair):
    """The two systems of a comparison for people."""
    return [system for system, _ in PAIRS[pair]]


def closing_words():
    """What a finished run says last: its headline table, if that is what was asked for."""
    headline = Path("results", experiment.experiment, "headline.txt")
    return headline.read_text(encoding="utf-8") if headline.exists() else ""


class LastWords(logging.Handler):
    """Where nothing is to be done Snakemake calls no hook, but it says so."""

    def emit(self, record):
        if record.msg == NOTHING_TO_BE_DONE_MSG:
            print(closing_words())


def is_script(process):
    """Whether a process runs a script of a rule."""
    try:
        return process.name() not in ("sh", "bash") and any(
            "/.snakemake/scripts/" in word for word in process.cmdline()
        )
    except psutil.NoSuchProcess:
        return False


def pass_sigterm_on():
    """Whoever takes the machine away tells Snakemake alone, and Snakemake waits for its jobs: they are told, too."""
    waits = signal.getsignal(signal.SIGTERM)

    def stop(*arguments):
        for process in psutil.Process().children(recursive=True):
            if is_script(process):  # its shell would go before it has saved; its own processes it tells itself
                process.terminate()
        waits(*arguments)

    signal.signal(signal.SIGTERM, stop)


for variable, value in JOB_ENVIRONMENT.items():
    os.environ.setdefault(variable, value)

refuse_templates(workflow.overwrite_configfiles)
experiment = read_experiment(config)
SUITES = experiment.data.suites
IS_OF_SCENES = experiment.is_of_scenes
WORLD = "scenes" if IS_OF_SCENES else "photographs"
# Every scene is a caption's own. Of photographs a caption's own may come again: the reference has each once.
REFERENCE = "<results>/data/{suite}.parquet" if IS_OF_SCENES else "<results>/data/{suite}_reference.parquet"
# Whose real pictures show what their captions say: other pictures of scenes can be drawn, other photographs cannot.
TRUE = "real" if IS_OF_SCENES else "original"
SYSTEMS = list(dict.fromkeys([*PICTURED, "shuffled", TRUE]))
PROTOCOLS = read_protocols(experiment.evaluation)
ASKED = list(dict.fromkeys(load_protocol(label).label for label in experiment.evaluation.protocols))
BLUR = load_protocol(experiment.evaluation.blur_protocol).label
SPACES = of_family(FidProtocol)  # those of the settings, and those that an Inception Score takes its logits from
EXTERNAL = {system: settings.suite for system, settings in experiment.systems.items()}
# What is looked at: every source of pictures on every suite it has.
SOURCES = list(product(["reference", *PICTURED], SUITES)) + list(EXTERNAL.items())
ANSWERS = list(product(SYSTEMS, SUITES)) + list(EXTERNAL.items())
# Answers that a caption can be held against: other photographs stand under captions that are not about them.
SAYINGS = [(system, suite) for system, suite in ANSWERS if system != "real" or TRUE == "real"]
SHARDS = range(experiment.sampling.shards)
BLOCKS = range(experiment.sampling.blocks)
RADII = [f"{radius:g}" for radius in experiment.evaluation.blur]
# The captioned pictures stand last: the last pairs are kept for validation.
PRIOR_SPLITS = ["uncaptioned"] * experiment.prior.uncaptioned + ["train"]
# Comparisons by people: two systems of suite val, each with the N that its pictures were chosen from, or None.
PAIRS = read_comparisons()
QUESTIONNAIRE = read_questionnaire(experiment.human.questionnaire)
FIGURES = expand(
    "<results>/figures/{name}.png", name=["figure9", "candidates", "training", "reconstructions"]
) + expand("<results>/figures/samples_{suite}.png", suite=SUITES)
FIGURES += [] if IS_OF_SCENES else expand("<results>/figures/{name}.png", name=["data", "overlap"])
