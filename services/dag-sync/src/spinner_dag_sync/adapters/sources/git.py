"""A branch, tag or commit of a git repository, through a bare cache on this machine and the `git` program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from spinner_dag_sync.adapters.sources.base import Listing, SourceFile, bounded, wanted
from spinner_dag_sync.domain.errors import BundleError

_TIMEOUT_SECONDS = 300
_QUIET = {
    # Never ask on a terminal for passwords or host keys; don't read settings of the machine's user.
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}


class GitSource:
    def __init__(self, url: str, branch: str, subfolder: str, cache: Path) -> None:
        self._url, self._branch, self._cache = url, branch, cache
        self._prefix = f"{subfolder.strip('/')}/" if subfolder.strip("/") else ""

    def list(self) -> Listing:
        commit = self._fetch()
        raw = self._git(
            "ls-tree", "-r", "-z", "--long", "--full-tree", commit, *([self._prefix] if self._prefix else [])
        )
        files: dict[str, SourceFile] = {}
        for entry in raw.decode(errors="surrogateescape").split("\0"):
            if not entry:
                continue
            facts, _, path = entry.partition("\t")
            mode, kind, sha, size = facts.split()
            path = path.removeprefix(self._prefix)
            # Links (120000) and submodules (kind commit) have no content of their own.
            if kind == "blob" and mode != "120000" and wanted(path):
                files[path] = SourceFile(sha, int(size), mode == "100755")
        if self._prefix and not files:
            fix = "Correct `subfolder` of the bundle."
            raise BundleError("BundleNotFound", f"{self._url} has no folder {self._prefix} at {self._branch}", fix)
        return bounded(self._url, Listing(files, commit))

    def read(self, listing: Listing, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        if not paths:
            return
        with subprocess.Popen(
            ["git", "--git-dir", str(self._cache), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_QUIET},
        ) as process:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
            for path in paths:
                process.stdin.write(f"{listing.files[path].token}\n".encode())
                process.stdin.flush()
                header = process.stdout.readline().split()
                if len(header) != 3:
                    raise BundleError("GitError", f"{path} can't be read from the cache", "Delete the cache folder.")
                content = process.stdout.read(int(header[2]) + 1)[:-1]
                yield path, content
            process.stdin.close()

    def _fetch(self) -> str:
        if not (self._cache / "HEAD").exists():
            self._cache.mkdir(parents=True, exist_ok=True)
            self._git("init", "--bare", "--quiet", str(self._cache), in_cache=False)
        self._git("fetch", "--quiet", "--force", "--no-tags", "--depth=1", self._url, self._branch)
        return self._git("rev-parse", "FETCH_HEAD^{commit}").decode().strip()

    def _git(self, *arguments: str, in_cache: bool = True) -> bytes:
        command = ["git", *(["--git-dir", str(self._cache)] if in_cache else []), *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=_TIMEOUT_SECONDS, env={**os.environ, **_QUIET}, check=False
            )
        except FileNotFoundError:
            raise BundleError("GitError", "The program git is not installed", "Install git.") from None
        except subprocess.TimeoutExpired:
            message = f"git {arguments[0]} of {self._url} took longer than {_TIMEOUT_SECONDS} s"
            raise BundleError("GitError", message, "Check that the host answers.") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise BundleError(
                "GitError",
                f"git {arguments[0]} of {self._url} ({self._branch}) failed: {said[-1] if said else done.returncode}",
                "Correct `url` and `branch` of the bundle, and see that the service may read the repository.",
            )
        return done.stdout
