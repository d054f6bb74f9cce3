"""A private MariaDB: its own data folder, socket and port, nothing of the system's configuration.

Debian's package is installed when it is missing and we are root. The account `spinner` (password `spinner`)
may do anything in databases whose name starts with `spinner`; the server listens on loopback only.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from spinner_servers.install import locked, run
from spinner_servers.process import Launch, ServerError, accepts
from spinner_servers.progress import step

USER = PASSWORD = "spinner"  # noqa: S105 - a throw-away server on loopback
_SETUP = f"""
CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
CREATE USER IF NOT EXISTS '{USER}'@'localhost' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON `spinner%`.* TO '{USER}'@'127.0.0.1', '{USER}'@'localhost';
"""


def prepare(data: Path, port: int) -> Launch:
    """Installs MariaDB if needed and possible, initializes `data` if it is new. Blocks; raises ServerError."""
    server = _program("mariadbd", "mysqld")
    data.mkdir(parents=True, exist_ok=True)
    user = "mysql" if os.geteuid() == 0 else None
    if user:
        shutil.chown(data, user, user)
    tables, account = data / "tables", data / "account.sql"
    if not (tables / "mysql").exists():
        initialize = [_program("mariadb-install-db"), "--no-defaults", f"--datadir={tables}", "--skip-test-db"]
        if user:
            initialize.append(f"--user={user}")
        with step("initializing MariaDB's data folder"):
            run([*initialize, "--auth-root-authentication-method=normal", "--skip-name-resolve"], data / "install.log")
    account.write_text(_SETUP)
    account.chmod(0o644)
    options = [
        f"--datadir={tables}",
        f"--port={port}",
        f"--socket={data / 'socket'}",
        f"--pid-file={data / 'pid'}",
        f"--init-file={account}",
        f"--tmpdir={data}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_unicode_ci",
        "--transaction-isolation=READ-COMMITTED",
        "--innodb-buffer-pool-size=128M",
        "--innodb-log-file-size=32M",
        "--innodb-flush-log-at-trx-commit=2",
        "--performance-schema=OFF",
    ]
    return Launch(
        name="MariaDB",
        command=[server, "--no-defaults", *options],
        data=data,
        log=data / "mariadb.log",
        address=f"127.0.0.1:{port}",
        ready=lambda: accepts(port),
        user=user,
    )


def _program(*names: str) -> str:
    for attempt in ("look", "install"):
        if attempt == "install":
            _install()
        for name in names:
            # sbin is not on an ordinary account's PATH.
            if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"):
                return found
    raise ServerError(f"MariaDB is installed but `{names[0]}` is not found on the PATH or in /usr/sbin.")


def _install() -> None:
    if sys.platform == "darwin":
        raise ServerError("MariaDB is missing. Run `brew install mariadb`.")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerError("MariaDB is missing. Run `apt-get install mariadb-server` as root.")
    with step("installing Debian's mariadb-server"):
        # The package would start a system-wide server; a policy of "no" keeps it to the files.
        environment = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        with locked("apt") as folder:
            run(["apt-get", "update", "-qq"], folder / "update.log")
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "mariadb-server"]
            run(install, folder / "mariadb.log", environment)
