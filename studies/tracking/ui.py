"""The MLflow UI for a home, on 127.0.0.1 only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlencode

from mlp.errors import ConfigError
from studies.errors import ServerError
from studies.hints import command_line
from studies.processes import child_environment
from studies.records.home import Home, StudyFolder
from studies.tracking.children import module_command, neutral_directory
from studies.tracking.mlflow_store import experiment_id, own_store

if TYPE_CHECKING:
    from rich.console import Console

START_SECONDS = 90.0
STOP_SECONDS = 10.0


def serve(console: Console, home: Home, name: str | None, port: int) -> int:
    """Run the UI until Ctrl-C, and print its address as soon as it answers.

    Args:
        console: the console that the address is printed to.
        home: the home whose runs to show.
        name: the study to open; all experiments if None.
        port: the port on 127.0.0.1.

    Raises:
        ConfigError: if there is nothing to show, or the port is in use.
        ServerError: if the server does not start.
    """
    if not home.mlflow_db.exists():
        studies = home.studies()
        advice = (
            f"Publish one with: {command_line('sync', studies[0].name, home=home)}" if studies else "Run one first."
        )
        raise ConfigError(f"no study in {home.root} has been published yet. {advice}")
    folder = home.existing_study(name) if name is not None else None
    _check_port(port)

    experiment = experiment_id(home, name) if name is not None else None
    if name is not None and experiment is None:
        raise ConfigError(
            f'study "{name}" is not published yet. Publish it with: {command_line("sync", name, home=home)}'
        )
    with home.root.joinpath("ui.log").open("wb") as log:
        server = start_server(home, port, log)
    try:
        _await_port(server, port, str(log.name))
        path = f"/#/experiments/{experiment}/runs?{_view(folder)}" if folder else ""
        console.print(f"MLflow UI  http://127.0.0.1:{port}{path}", highlight=False, soft_wrap=True)
        console.print("Press Ctrl-C to stop it.", style="dim")
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def start_server(home: Home, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start MLflow's server for the home's own store, on 127.0.0.1 only, as the leader of a new session.

    Args:
        home: the home.
        port: the port on 127.0.0.1.
        log: receives the output of the server.
    """
    options = {
        "--backend-store-uri": own_store(home),
        "--artifacts-destination": home.artifacts.as_uri(),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--allowed-hosts": f"127.0.0.1:{port},localhost:{port}",
    }
    flags = [item for option in options.items() for item in option]
    return subprocess.Popen(
        module_command("mlflow", "server", *flags),
        env=child_environment(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        cwd=neutral_directory(),
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _view(folder: StudyFolder) -> str:
    """Return the query that opens an experiment at its trials, best first, instead of at MLflow's traces."""
    ascending = folder.read_record().direction == "minimize"
    return urlencode(
        {
            "workflowType": "machine_learning",
            "searchFilter": "tags.trial LIKE '%'",
            "orderByKey": "metrics.`value`",
            "orderByAsc": str(ascending).lower(),
        },
        quote_via=quote,
    )


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used: {error.strerror}. Choose another with --port.") from None


def _await_port(server: subprocess.Popen[bytes], port: int, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerError(f"the MLflow server ended with exit code {server.returncode}; see {log}.")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise ServerError(f"the MLflow server did not answer within {START_SECONDS:.0f} s; see {log}.")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and the processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
