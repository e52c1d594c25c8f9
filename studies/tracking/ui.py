"""The MLflow UI for a home, on 127.0.0.1 only; or the address of the server that `MLFLOW_TRACKING_URI` names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlencode

from mlp.errors import ConfigError
from studies.errors import ServerError
from studies.hints import command_line
from studies.processes import child_environment
from studies.records.addresses import mask_secrets
from studies.records.home import Home, StudyFolder
from studies.tracking.children import module_command, neutral_directory
from studies.tracking.mlflow_store import experiment_id
from studies.tracking.own_store import own_store, relocation_notice

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_LINE = 200  # characters of the log in an error
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
    folder = home.existing_study(name) if name is not None else None
    path = f"/#/experiments/{{}}/runs?{_view(folder)}" if folder else "/"
    if home.tracking_uri.startswith(("http:", "https:")):
        address = mask_secrets(home.tracking_uri).rstrip("/")
        path = path.format(_experiment(home, home, folder))
        console.print(f"MLflow UI  {address}{path}", highlight=False, soft_wrap=True)
        console.print("MLFLOW_TRACKING_URI names this server, so no other one was started.", style="dim")
        return 0
    if home.tracking_uri == own_store(home) and not home.mlflow_db.exists():
        studies = home.studies()
        advice = (
            f"Publish one with: {command_line('sync', studies[0].name, home=home)}" if studies else "Run one first."
        )
        raise ConfigError(f"no study in {home.root} has been published yet. {advice}")
    _check_port(port)
    with _writable(home) as place:
        notice = relocation_notice(place)
        if notice:
            console.print(notice, highlight=False, markup=False, soft_wrap=True)
        path = path.format(_experiment(home, place, folder)) if folder else path
        with place.root.joinpath("ui.log").open("wb") as log:
            server = start_server(place, port, log)
        try:
            _await_port(server, port, Path(log.name))
            console.print(f"MLflow UI  http://127.0.0.1:{port}{path}", highlight=False, soft_wrap=True)
            console.print("Press Ctrl-C to stop it.", style="dim")
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(server)


def _experiment(home: Home, place: Home, folder: StudyFolder | None) -> str:
    """Return the id of a study's experiment; check only that the store can be used if no study is given.

    Args:
        home: the home of the study.
        place: the home whose store to ask: the same one, or a copy.
        folder: the study.

    Raises:
        ConfigError: if the store cannot be used, or the study is not published.
    """
    name = folder.name if folder else "Default"
    experiment = experiment_id(place, name)
    if folder and experiment is None:
        advice = f"Publish it with: {command_line('sync', name, home=home)}"
        raise ConfigError(f'study "{name}" is not published yet. {advice}')
    return experiment or ""


@contextmanager
def _writable(home: Home) -> Iterator[Home]:
    """Yield the home, or a temporary copy of its store if the home is read-only, because MLflow must write to it."""
    if os.access(home.root, os.W_OK):
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="studies-ui-") as temporary:
        copy = Home(Path(temporary))
        for file in (home.mlflow_db, home.mlflow_db.with_name("mlflow.db-wal")):
            if file.exists():
                shutil.copyfile(file, copy.root / file.name)
        copy.artifacts.symlink_to(home.artifacts)
        yield copy


def start_server(home: Home, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start MLflow's server for the store of a home, on 127.0.0.1 only, as the leader of a new session.

    Args:
        home: the home.
        port: the port on 127.0.0.1.
        log: receives the output of the server.
    """
    options = {
        "--artifacts-destination": home.artifacts.as_uri(),
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--allowed-hosts": f"127.0.0.1:{port},localhost:{port}",
    }
    flags = [item for option in options.items() for item in option]
    return subprocess.Popen(
        module_command("mlflow", "server", *flags),
        env=child_environment(
            MLFLOW_BACKEND_STORE_URI=home.tracking_uri,  # a variable, because everybody sees arguments
            MLFLOW_DISABLE_TELEMETRY="true",
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        ),
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


def _await_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ServerError(f"the MLflow server ended with exit code {server.returncode}: {_last_line(log)}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise ServerError(f"the MLflow server did not answer within {START_SECONDS:.0f} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    """Return the last line of a log, and where the log is."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{mask_secrets(lines[-1].strip()[:LONGEST_LINE]) if lines else 'it printed nothing'} ({log})"


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and the processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
