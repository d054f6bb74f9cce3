"""`python -m spinner_servers.cgroup2 COMMAND…`: a command on this machine's files under a kernel with cgroup v2 alone.

A machine that binds its controllers to version 1 cannot show what version 2 does. Debian's `user-mode-linux` is a Linux
kernel that runs as a process, so neither KVM nor a boot loader is needed. Here it has control groups of version 2 alone
at /sys/fs/cgroup, and runs the command as root. Its root is the machine's own, read-only, below an overlay on a disk of
its own that is thrown away: nothing that the command does is left here but in folders that `--share` names. /tmp is
empty, and there is no network but loopback. Output comes here, and the command's exit code is this program's.

It computes as fast as the machine, on one processor; a system call takes about 40 µs. It has no cpuset controller and
no PSI. Its processes are in namespaces of their own, in which the machine's root is read-only and which end with this
program, so a kill of any of them harms nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spinner_servers.install import locked, run
from spinner_servers.process import ServerError, die_with_parent, log_tail
from spinner_servers.progress import step

_PACKAGES = ("user-mode-linux", "busybox-static")
_DISK_BYTES = 32 << 30  # of which only what is written is taken
_PASSED = re.compile(r"PATH|HOME|LANG|LC_.*|TZ|JAVA_HOME|PYTHON.*|SPINNER_.*|PYTEST_.*|VIRTUAL_ENV")

# Runs in namespaces of its own. The kernel is not their process 1, which is deaf to signals without a handler.
_OUTER = """set -e
mount --make-rprivate /
for folder in {work} {shares}; do mount --bind "$folder" "$folder"; done
exec 3>&1 > {work}/console 2>&1
mount -o remount,bind,ro /
mount -t tmpfs -o size={memory}M tmpfs {work}/memory
TMPDIR={work}/memory {kernel} mem={memory}M root=/dev/root rootfstype=hostfs rootflags=/ ro init={work}/init \\
  ubd0={work}/disk uml_dir={work}/ con=null con0=null,fd:1 ssl=null ssl0=null,fd:3 quiet loglevel=3 < /dev/null
exit $?
"""

_INIT = """#!{busybox} sh
b={busybox} w={work}
n=$w/root d=$w/mounted
stop() {{ echo "$1" > $w/result/code; sync; $b poweroff -f; }}
$b mount -t hostfs -o $w/result none $w/result && $b mount -t proc proc /proc || stop 125
$b insmod {overlay} && $b mount -t ext4 -o noatime /dev/ubda $d || stop 125
$b mkdir $d/upper $d/work $d/tmp && $b chmod 1777 $d/tmp
$b mount -t overlay -o lowerdir=/,upperdir=$d/upper,workdir=$d/work root $n || stop 125
$b mount -t proc proc $n/proc && $b mount -t sysfs sys $n/sys && $b mount -t cgroup2 cgroup $n/sys/fs/cgroup || stop 125
$b mount -t devtmpfs dev $n/dev && $b mkdir -p $n/dev/pts $n/dev/shm && $b mount -t devpts devpts $n/dev/pts || stop 125
$b mount -t tmpfs tmpfs $n/dev/shm && $b mount -t tmpfs -o mode=755 tmpfs $n/run && $b ln -sfn /proc/self/fd $n/dev/fd
# An overlay cannot be the upper layer of another, which containers' file systems are.
$b mount -o bind $d/tmp $n/tmp
for folder in {shares}; do $b mkdir -p "$n$folder" && $b mount -t hostfs -o "$folder" none "$n$folder" || stop 125; done
# The kubelet wants to know a clock's speed, which this kernel does not say.
$b cp /proc/cpuinfo $n/run/cpuinfo && echo "cpu MHz : 1000.000" >> $n/run/cpuinfo
$b mount -o bind $n/run/cpuinfo $n/proc/cpuinfo
$b hostname localhost
# A node takes its address from the interface of a default route; nothing is there.
$b ip link set lo up && $b ip addr add 192.0.2.1/32 dev lo && $b ip route add default dev lo
$b stty -F $n/dev/ttyS0 raw -echo
$b chroot $n /bin/sh -c {command} < /dev/null > $n/dev/ttyS0 2>&1
stop $?
"""


def missing() -> str:
    """Why no such kernel can be started here; empty when it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("apt-get") is None:
        return "A kernel with cgroup v2 alone needs Debian on x86-64, whose package user-mode-linux it is."
    if os.geteuid() != 0:
        return "A kernel with cgroup v2 alone needs root, since its root uses this machine's files."
    return ""


def execute(
    command: Sequence[str],
    folder: Path,
    shares: Sequence[Path] = (),
    memory_mib: int = 6144,
    seconds: float = 1800.0,
) -> int:
    """Runs a command in `folder` under a fresh kernel; returns its exit code.

    Raises ServerError when there can be no such kernel, or it ended, or took longer than `seconds`, without an exit
    code.
    """
    if why := missing():
        raise ServerError(why)
    if folder.resolve().is_relative_to("/tmp"):  # noqa: S108 - what the kernel's own /tmp would hide
        raise ServerError(f"{folder} cannot be seen under cgroup v2, where /tmp is empty. Fix: run it from elsewhere.")
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="spinner-cgroup2-") as name:
        work = Path(name)
        for each in ("memory", "mounted", "result", "root"):
            (work / each).mkdir()
        init = work / "init"
        init.touch(0o700)  # the environment may hold secrets
        init.write_text(_init(programs, work, command, folder, shares))
        with (work / "disk").open("wb") as disk:
            disk.truncate(_DISK_BYTES)
        run(["/usr/sbin/mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", str(work / "disk")], work / "mkfs.log")
        outer = _OUTER.format(
            work=work, memory=memory_mib, kernel=programs / "usr/bin/linux.uml", shares=shlex.join(map(str, shares))
        )
        namespaces = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
        kernel = subprocess.Popen(
            [*namespaces, "sh", "-c", outer], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, text=True
        )
        try:
            kernel.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"The command took longer than {seconds:.0f} s under cgroup v2.") from error
        finally:
            kernel.kill()
            kernel.wait()
        try:
            return int((work / "result" / "code").read_text())
        except (OSError, ValueError) as error:
            said = log_tail(work / "console", 40)
            raise ServerError(f"The kernel ended without an exit code. The end of its console:\n{said}") from error


def _init(programs: Path, work: Path, command: Sequence[str], folder: Path, shares: Sequence[Path]) -> str:
    passed = [f"{name}={value}" for name, value in os.environ.items() if _PASSED.fullmatch(name)]
    return _INIT.format(
        busybox=programs / "bin/busybox",
        work=work,
        overlay=next((programs / "usr/lib/uml/modules").rglob("overlay.ko")),
        shares=shlex.join(map(str, shares)),
        command=shlex.quote(f"cd {shlex.quote(str(folder))} && exec env -i {shlex.join([*passed, *command])}"),
    )


def _programs() -> Path:
    """Where the packages are unpacked; they are not installed."""
    with locked("cgroup2") as folder:
        root = folder / "root"
        if not (root / "ready").exists():
            with step("unpacking Debian's user-mode-linux"):
                run(["apt-get", "update", "-qq"], folder / "update.log")
                run(["env", "-C", str(folder), "apt-get", "download", "-q", *_PACKAGES], folder / "download.log")
                for archive in folder.glob("*.deb"):
                    run(["dpkg", "-x", str(archive), str(root)], folder / "unpack.log")
                    archive.unlink()
                (root / "ready").touch()
        return root


def main() -> int:
    """Runs one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m spinner_servers.cgroup2", description=__doc__)
    parser.add_argument("--share", type=Path, action="append", default=[], help="a folder that the command may change")
    parser.add_argument("--memory", type=int, default=6144, help="MiB that the kernel has; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1800.0, help="at most so long; default: %(default)s")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if not given.command:
        parser.error("which command?")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return execute(given.command, Path.cwd(), [each.resolve() for each in given.share], given.memory, given.seconds)
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
