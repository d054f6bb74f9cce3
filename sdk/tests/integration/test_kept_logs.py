"""What a remote worker prints: kept beyond its death, bounded, and sent in order."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

from spinner.runtime.logs import LogKeeper, LogSender
from spinner.runtime.nodelog import ENDING, LINE_COST, MARK
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


def copied(stdout: bytes) -> list[tuple[int, int, int, bytes]]:
    """Parts of a node's copy: the byte and line where it stopped before, the byte where it goes on, and the text."""
    pieces = MARK.split(stdout)
    parts = [(0, 0, 0, pieces[0])]
    for at in range(1, len(pieces), 6):
        stops, _, goes_on, line, _, text = pieces[at : at + 6]
        parts.append((int(stops), int(line), int(goes_on), text))
    return parts


def test_of_a_log_over_its_bounds_the_beginning_and_the_end_are_sent(tmp_path):
    done, sent = kept(tmp_path, "for n in range(300_000): print('line', n)", head=100_000, tail=50_000)
    whole = b"".join(b"line %d\n" % n for n in range(300_000))
    skips = json.loads((tmp_path / "sent.json").read_text())
    assert skips and all(lines == whole[:end].count(b"\n") for _, end, lines in skips)
    assert len(sent) == len(whole)
    begin, end, _ = skips[-1]
    assert sent[end:] == whole[end:] and len(whole) - end >= 50_000
    assert sent[: skips[0][0]] == whole[: skips[0][0]] and begin < end
    for _, line, offset, text in copied(done.stdout):
        assert whole[offset:].startswith(text) and line == whole[:offset].count(b"\n")


PRINTS = "os.system('seq 0 2999999')\n"
PRINTED = b"".join(b"%d\n" % n for n in range(3_000_000))
BOUNDS = {"head": 1_000_000, "tail": 4 << 20, "rate": 1_000_000}


def test_a_node_that_takes_little_keeps_nobody_waiting_and_its_copy_says_what_it_has(tmp_path):
    code = f"import time; begun = time.monotonic()\n{PRINTS}print('took', time.monotonic() - begun)"
    done, sent = kept(tmp_path, code, **BOUNDS)
    # At its rate the copy of all lines takes some 160 s.
    assert float(sent.split()[-1]) < 30
    whole = PRINTED + sent.splitlines(keepends=True)[-1]
    first, *others = copied(done.stdout)
    assert whole.startswith(first[3]) and others and len(done.stdout) < len(PRINTED) / 2
    for (_, _, before, text), (stops, line, offset, following) in itertools.pairwise([first, *others]):
        assert stops == before + len(text)
        assert line == whole[:offset].count(b"\n") and whole[offset:].startswith(following)


def test_the_copy_of_a_killed_worker_ends_with_its_logs_end(tmp_path):
    done, _ = kept(tmp_path, f"{PRINTS}os.write(1, b'last words'); os.kill(os.getpid(), signal.SIGKILL)", **BOUNDS)
    whole = PRINTED + b"last words"
    _, _, offset, text = copied(done.stdout)[-1]
    assert whole[offset:] == text
    cost = len(text) + LINE_COST * text.count(b"\n")
    assert ENDING / 2 < cost < ENDING * 2


def test_children_that_stay_keep_nobody_waiting(tmp_path):
    done, sent = kept(tmp_path, "import subprocess; subprocess.Popen(['sleep', '30']); print('done')")
    assert done.returncode == 7 and sent == b"done\n"


def test_children_that_go_on_printing_keep_nobody_waiting(tmp_path):
    code = "import subprocess, time; subprocess.Popen(['yes']); time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)"
    begun = time.monotonic()
    done, _ = kept(tmp_path, code, **BOUNDS)
    assert done.returncode == 128 + signal.SIGKILL and done.stdout.endswith(b"y\ny\n")
    assert time.monotonic() - begun < 30


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
