"""A PostgreSQL server of its own: a cluster in a new folder, stopped and removed at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "judge"
# What it holds is gone with the test: it need not survive a loss of power.
_FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=20"


@dataclass(frozen=True)
class Postgres:
    """A running server on this machine."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The connection string of its one database."""
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def connect(self) -> psycopg.Connection:
        """Open a connection."""
        return psycopg.connect(self.url, autocommit=True)


def programs() -> Path | None:
    """Find the folder of `initdb` and `pg_ctl`, which Debian keeps out of the PATH."""
    found = [folder for folder in _DEBIAN.glob("*/bin") if (folder / "pg_ctl").exists()]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    there = shutil.which("pg_ctl")
    return None if there is None else Path(there).resolve().parent


@contextlib.contextmanager
def running_postgres(bin_folder: Path) -> Iterator[Postgres]:
    """Run a server until the context ends."""
    # Not below the folder of the test: only its owner may enter that, and the server is another.
    folder = Path(tempfile.mkdtemp(prefix="dap-postgres-"))
    try:
        password = secrets.token_hex(16)
        secret = folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")
        cluster = folder / "cluster"
        options = ["-U", _USER, "-A", "scram-sha-256", "--pwfile", str(secret)]
        encoding = ["-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        _run(bin_folder / "initdb", "-D", str(cluster), *options, *encoding)
        port = _free_port()
        with _started(bin_folder / "pg_ctl", folder, port):
            yield Postgres(port, password)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _started(pg_ctl: Path, folder: Path, port: int) -> Iterator[None]:
    common = ["-D", str(folder / "cluster"), "-w"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} {_FAST}"
    _run(pg_ctl, "start", *common, "-l", str(folder / "log"), "-o", options)
    try:
        yield
    finally:
        _run(pg_ctl, "stop", *common, "-m", "immediate")


def _run(program: Path, *arguments: str) -> None:
    """Run a program of PostgreSQL as someone else than root, which it refuses."""
    as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    command = [*(as_other if os.geteuid() == 0 else []), str(program), *arguments]
    # The server inherits what it prints to: a pipe would never be at its end.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, cwd="/", stdout=output, stderr=output, timeout=120)
        output.seek(0)
        assert done.returncode == 0, output.read()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
