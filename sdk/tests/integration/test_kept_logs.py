"""What a remote worker prints: kept beyond its death, bounded, and sent in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from spinner.runtime.logs import LogKeeper, LogSender

SCRIPT = """
import os, signal, sys
from spinner.runtime import init, logs
logs.LogKeeper.__init__.__defaults__ = (int(sys.argv[1]),)

def work(keeper):
    copy = bytearray()
    def push(offset, text):
        copy[offset:] = text
        return len(copy)
    sender = logs.LogSender(push, keeper)
    exec(sys.argv[2])
    sender.close()
    with open(sys.argv[3], "wb") as file:
        file.write(copy)
    return 7

sys.exit(init.run_below(work))
"""


def kept(tmp_path, code: str, limit: int = 1 << 30) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """A process that runs ``code`` below a keeper, and what its sender sent."""
    file = tmp_path / "sent"
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(limit), code, str(file)], capture_output=True, timeout=120)
    return done, file.read_bytes() if file.exists() else b""


def test_everything_is_kept_and_sent_in_order(tmp_path):
    code = "for n in range(200_000): print('line', n)\nprint('end', file=sys.stderr)"
    done, sent = kept(tmp_path, code)
    assert done.returncode == 7
    assert done.stdout == sent
    assert sent.splitlines() == [*(b"line %d" % n for n in range(200_000)), b"end"]


def test_the_last_words_of_a_killed_worker_are_on_the_containers_output(tmp_path):
    done, _ = kept(tmp_path, "os.write(1, b'x' * 50_000 + b' last words'); os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stdout.endswith(b"x last words")


def test_a_log_over_its_limit_is_cut_with_a_mark_and_goes_on_where_the_kubelet_keeps_it(tmp_path):
    done, sent = kept(tmp_path, "for n in range(1000): print('line', n)", limit=2000)
    assert b"the log is longer than 2000 bytes" in sent and sent.index(b"[the log") == 2001
    assert done.stdout.count(b"line") == 1000


def test_children_that_go_on_writing_keep_nobody_waiting(tmp_path):
    done, sent = kept(tmp_path, "import subprocess; subprocess.Popen(['sleep', '30']); print('done')")
    assert done.returncode == 7 and sent == b"done\n"


def test_an_executor_that_has_less_gets_it_again():
    keeper = LogKeeper()
    os.write(keeper.file.fileno(), b"one two three ")
    received, again, whole = bytearray(), threading.Event(), threading.Event()

    def push(offset: int, text: bytes) -> int:
        if again.is_set() and offset > len(received):
            return len(received)
        received[offset:] = text
        if bytes(received) == b"one two three ":
            whole.set()
        return len(received)

    sender = LogSender(push, keeper)
    assert whole.wait(10)
    whole.clear()
    received.clear()
    again.set()
    sender.moved()
    assert whole.wait(10)
