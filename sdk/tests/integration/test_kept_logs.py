"""What a remote worker prints: kept beyond its death, bounded, and sent in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

from spinner.runtime.logs import LogKeeper, LogSender
from spinner_proto.runtime.v1.runtime_pb2 import PushLogRequest

SCRIPT = """
import json, os, signal, sys
from spinner.runtime import init, logs

def work(keeper):
    copy, skips = bytearray(), []
    def push(request):
        if request.skipped:
            skips.append((len(copy), request.offset, request.line_ends_before))
            copy.extend(bytes(request.offset - len(copy)))
        copy[request.offset:] = request.text
        return len(copy)
    sender = logs.LogSender(push, keeper)
    exec(sys.argv[1])
    sender.close()
    with open(sys.argv[2], "wb") as file:
        file.write(copy)
    with open(sys.argv[2] + ".json", "w") as file:
        json.dump(skips, file)
    return 7

sys.exit(init.run_below(work))
"""


def kept(tmp_path, code: str, **bounds: int) -> tuple[subprocess.CompletedProcess[bytes], bytes]:
    """A process that runs ``code`` below a keeper, and what its sender sent."""
    file = tmp_path / "sent"
    environment = os.environ | {f"SPINNER_LOG_{name.upper()}": str(value) for name, value in bounds.items()}
    with (tmp_path / "stdout").open("w+b") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, code, str(file)], stdout=stdout, env=environment, timeout=120
        )
        stdout.seek(0)
        done.stdout = stdout.read()
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


def test_of_a_log_over_its_bounds_the_beginning_and_the_end_are_sent_and_all_is_where_the_kubelet_keeps_it(tmp_path):
    done, sent = kept(tmp_path, "for n in range(300_000): print('line', n)", head=100_000, tail=50_000)
    whole = b"".join(b"line %d\n" % n for n in range(300_000))
    assert done.stdout == whole
    skips = json.loads((tmp_path / "sent.json").read_text())
    assert skips and all(lines == whole[:end].count(b"\n") for _, end, lines in skips)
    assert len(sent) == len(whole)
    begin, end, _ = skips[-1]
    assert sent[end:] == whole[end:] and len(whole) - end >= 50_000
    assert sent[: skips[0][0]] == whole[: skips[0][0]] and begin < end


def test_beyond_the_head_a_pod_prints_at_its_pace(tmp_path):
    code = "begun = time.monotonic()\nfor n in range(30): print('x' * 99_999)\n"
    code = "import time\n" + code + "print('took', time.monotonic() - begun)"
    done, _ = kept(tmp_path, code, head=1_000_000, tail=100_000, rate=1_000_000)
    assert 1.5 < float(done.stdout.split()[-1]) < 20


def test_children_that_go_on_writing_keep_nobody_waiting(tmp_path):
    done, sent = kept(tmp_path, "import subprocess; subprocess.Popen(['sleep', '30']); print('done')")
    assert done.returncode == 7 and sent == b"done\n"


def test_an_executor_that_has_less_gets_it_again():
    keeper = LogKeeper()
    os.write(keeper.log.file, b"one two three ")
    received, again, whole = bytearray(), threading.Event(), threading.Event()

    def push(request: PushLogRequest) -> int:
        if again.is_set() and request.offset > len(received):
            return len(received)
        received[request.offset :] = request.text
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
