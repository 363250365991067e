"""An MLflow server that two jobs mirror to at once: what each writes is whole, and neither touches the other's."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_track import CONFIG, results_folder

from dalle.provenance import ROOT

PATIENCE = 60  # seconds until the server must answer
MIRROR = """
import json, sys
from eval.track import mirror
results, config = sys.argv[1:]
for _ in range(2):  # the second time there is something to replace
    mirror(results, json.loads(config), f"{results}/mlflow.json")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on loopback with a database and a folder of artifacts of its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    asked += [f"--backend-store-uri=sqlite:///{folder}/runs.db", f"--artifacts-destination={folder}/artifacts"]
    with open(folder / "log", "w", encoding="utf-8") as log:
        running = subprocess.Popen(asked, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(running, port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _wait(running: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert running.poll() is None and time.monotonic() < until, log.read_text(encoding="utf-8")
        time.sleep(0.1)


def test_two_writers_at_once_leave_whole_runs_and_each_others_alone(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    was_there = (ROOT / "mlflow.db").exists()
    folders = [results_folder(tmp_path / user / "results" / "tiny") for user in ("anna", "ben")]
    asked = [[sys.executable, "-c", MIRROR, str(folder), json.dumps(CONFIG)] for folder in folders]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for command in asked]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said

    from mlflow import MlflowClient

    client, markers = MlflowClient(), [json.loads((folder / "mlflow.json").read_text()) for folder in folders]
    assert markers[0]["experiment_id"] == markers[1]["experiment_id"]
    ours = [{marker["parent"], *marker["children"].values()} for marker in markers]
    active = client.search_runs([markers[0]["experiment_id"]], max_results=1000)
    assert {run.info.run_id for run in active} == ours[0] | ours[1]
    assert len(active) == len(ours[0]) + len(ours[1])
    assert {run.info.status for run in active} == {"FINISHED"}
    for marker in markers:
        curve = client.get_metric_history(marker["children"]["training of prior"], "loss")
        assert len(curve) == 400
        assert {file.path for file in client.list_artifacts(marker["parent"])} >= {"figures", "tables", "headline.txt"}
    assert (ROOT / "mlflow.db").exists() == was_there
