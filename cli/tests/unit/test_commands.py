"""The commands against a stand-in for the REST API: what they send, print and answer with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from spinner_cli import __main__ as command_line
from spinner_cli.tasks import log_line

RUN = {
    "dag_id": "etl",
    "run_id": "manual+1",
    "run_type": "manual",
    "state": "success",
    "logical_date": None,
    "start_time": "2026-11-27T08:00:00Z",
    "end_time": "2026-11-27T08:00:03Z",
    "duration_seconds": 3.0,
    "version": "v1",
    "actor": "me",
    "task_counts": {"success": 2},
    "conf": {},
}
Handler = Callable[[httpx.Request], httpx.Response]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def spinner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command line with a handler for its requests."""

    def run(handler: Handler, *arguments: str) -> Result:
        real = httpx.Client

        def client(**options: Any) -> httpx.Client:
            return real(**(options | {"transport": httpx.MockTransport(handler)}))

        monkeypatch.setattr(httpx, "Client", client)
        monkeypatch.setenv("SPINNER_URL", "http://stand-in")
        monkeypatch.setattr("sys.argv", ["spinner", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        printed = capsys.readouterr()
        return Result(int(ended.value.code or 0), printed.out, printed.err)

    return run


def page(*items: dict[str, Any], cursor: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"items": list(items), "total": len(items), "next_cursor": cursor})


def test_runs_are_a_list_of_objects_over_all_pages(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/runs"
        return page(RUN) if request.url.params.get("cursor") == "next" else page(RUN, cursor="next")

    result = spinner(handler, "runs", "list", "--json")
    assert result.code == 0
    assert [run["state"] for run in json.loads(result.out)] == ["success", "success"]


def test_ids_are_quoted_in_paths(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/api/v1/dags/etl/runs/manual%2B1"
        return httpx.Response(200, json=RUN)

    assert "success" in spinner(handler, "runs", "show", "etl", "manual+1").out


def test_latest_is_the_newest_run(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/runs"):
            return page(RUN)
        assert request.url.path.endswith("/runs/manual+1")
        return httpx.Response(200, json=RUN)

    assert spinner(handler, "runs", "show", "etl", "latest", "--json").code == 0


def test_a_problem_is_told_with_its_fix(spinner: Callable[..., Result]) -> None:
    problem = {"code": "DAG_NOT_FOUND", "message": "There is no DAG 'x'.", "fix": "See the list."}
    result = spinner(lambda request: httpx.Response(404, json=problem), "dags", "show", "x")
    assert result.code == 1
    assert result.out == ""
    assert result.err == "error: There is no DAG 'x'.\n  fix: See the list.\n"


def test_an_answer_that_is_no_problem_is_told_too(spinner: Callable[..., Result]) -> None:
    result = spinner(lambda request: httpx.Response(502, text="<html>bad gateway"), "dags", "list")
    assert result.code == 1
    assert "502" in result.err


def test_nobody_there_means_make_up(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    result = spinner(handler, "dags", "list")
    assert result.code == 1
    assert "make up" in result.err


@pytest.mark.parametrize("conf", ["[1]", '"text"', "7", "null", "{", "@/there/is/none"])
def test_a_conf_that_is_no_object_is_refused_before_anything_is_sent(spinner: Callable[..., Result], conf: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be sent")

    result = spinner(handler, "dags", "trigger", "etl", "--conf", conf)
    assert result.code == 1
    assert "fix:" in result.err


def test_a_conf_may_come_from_a_file(spinner: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text('{"day": "2026-01-01"}')

    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["conf"] == {"day": "2026-01-01"}
        return httpx.Response(200, json={"request_id": "r", "run_id": "manual+1", "task_count": 0})

    assert spinner(handler, "dags", "trigger", "etl", "--conf", f"@{tmp_path / 'conf.json'}").out == "manual+1\n"


@pytest.mark.parametrize(("state", "code"), [("success", 0), ("failed", 1)])
def test_waiting_ends_with_the_runs_state(spinner: Callable[..., Result], state: str, code: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"request_id": "r", "run_id": "manual+1", "task_count": 0})
        return httpx.Response(200, json={**RUN, "state": state})

    result = spinner(handler, "dags", "trigger", "etl", "--wait", "--json")
    assert result.code == code
    assert json.loads(result.out)["state"] == state


def test_a_pool_is_set_with_its_slots(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("PUT", "/api/v1/pools/small")
        assert json.loads(request.content)["slots"] == 3
        return httpx.Response(200, json={})

    assert spinner(handler, "pools", "set", "small", "3").code == 0


def test_a_followed_log_ends_with_the_try(spinner: Callable[..., Result]) -> None:
    lines = [{"line": 1, "time": None, "level": "", "stage": "", "logger": "", "text": "first"}]
    events = "".join(
        f"data: {json.dumps({'lines': rows, 'complete': complete})}\n\n"
        for rows, complete in [(lines, False), ([], True)]
    )

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/log/stream"):
            return httpx.Response(200, text=events, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json={"try_number": 1})

    assert spinner(handler, "tasks", "logs", "etl", "manual+1", "load", "-f").out == "first\n"


def test_a_followed_log_goes_on_when_its_executor_went_away(
    spinner: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    asked: list[str] = []
    pages = {
        "0": {"lines": [_line(1, "first")], "complete": False, "next_offset": 6},
        "6": {"lines": [_line(2, "second")], "complete": True, "next_offset": 13},
    }

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/log/stream"):
            asked.append(request.url.params["offset"])
            text = f"data: {json.dumps(pages[asked[-1]])}\n\n"
            return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})
        return httpx.Response(200, json={"try_number": 1})

    assert spinner(handler, "tasks", "logs", "etl", "manual+1", "load", "-f").out == "first\nsecond\n"
    assert asked == ["0", "6"]


def test_the_end_of_a_long_log_is_asked_for_alone(spinner: Callable[..., Result]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/log"):
            assert request.url.params["tail"] == "2"
            page = {"lines": [_line(8, "eighth"), _line(9, "ninth")], "complete": True, "next_offset": 99}
            return httpx.Response(200, json=page)
        return httpx.Response(200, json={"try_number": 1})

    assert spinner(handler, "tasks", "logs", "etl", "manual+1", "load", "--tail", "2").out == "eighth\nninth\n"


def _line(number: int, text: str) -> dict[str, object]:
    return {"line": number, "time": None, "level": "", "stage": "", "logger": "", "text": text}


def test_a_log_line_looks_as_in_the_file() -> None:
    line = {
        "time": "2026-11-27T08:00:00.123Z",
        "stage": "TaskExecStage",
        "level": "INFO",
        "logger": "etl",
        "text": "loaded",
    }
    assert log_line(line) == "[2026-11-27T08:00:00.123Z] {TaskExecStage} INFO etl: loaded"
    assert log_line({"time": None, "text": "a print"}) == "a print"


def leaves(command: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words), command
        return
    for word, one in inner.items():
        yield from leaves(one, *words, word)


def test_every_command_speaks_json() -> None:
    commands = dict(leaves(typer.main.get_command(command_line.app)))
    assert {"up", "down", "status", "dags check", "tasks logs", "events tail", "views rebuild"} <= set(commands)
    assert [words for words, made in commands.items() if not any("--json" in item.opts for item in made.params)] == []
    assert [words for words, made in commands.items() if not made.help] == []


ACTIONS: list[tuple[list[str], dict[str, Any]]] = [
    (["dags", "pause", "etl"], {"paused": True}),
    (["dags", "unpause", "etl"], {"paused": False}),
    (["runs", "stop", "etl", "r"], {"task_count": 2}),
    (["runs", "mark", "etl", "r", "failed"], {"task_count": 2}),
    (["tasks", "mark", "etl", "r", "a"], {"task_count": 2}),
    (["tasks", "kill", "etl", "r", "a"], {"task_count": 2}),
    (["backfill", "pause", "etl", "b"], {"task_count": 2}),
    (["backfill", "resume", "etl", "b"], {"task_count": 2}),
    (["backfill", "cancel", "etl", "b"], {"task_count": 2}),
    (["decisions", "decide", "etl", "r", "a", "-c", "yes"], {"task_count": 2}),
    (["assets", "update", "orders"], {"task_count": 2}),
    (["pools", "set", "small", "2"], {"task_count": 2}),
    (["pools", "delete", "small"], {"removed": True}),
    (["variables", "set", "region", "eu"], {"task_count": 2}),
    (["connections", "set", "db", "--type", "mysql"], {"task_count": 2}),
]


@pytest.mark.parametrize(("words", "said"), ACTIONS, ids=[" ".join(words[:2]) for words, _ in ACTIONS])
def test_an_action_says_a_sentence_or_its_result(
    spinner: Callable[..., Result], words: list[str], said: dict[str, Any]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.method != "GET"
        return httpx.Response(200, json={"task_count": 2})

    found = json.loads(spinner(handler, *words, "--json").out)
    assert said.items() <= (found[0] if isinstance(found, list) else found).items()
    sentence = spinner(handler, *words).out
    assert sentence.count("\n") == 1 and not sentence.startswith("{")


def test_a_log_is_lines_of_json_over_all_pages(spinner: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spinner_cli.tasks.LOG_LINES", 2)
    lines = [{"line": number, "text": f"line {number}", "stage": "TaskExecStage"} for number in (1, 2, 3)]

    def handler(request: httpx.Request) -> httpx.Response:
        first = int(request.url.params["first_line"])
        return httpx.Response(200, json={"lines": lines[first - 1 : first + 1], "total_lines": 3})

    result = spinner(handler, "tasks", "logs", "etl", "r", "a", "--try", "1", "--json")
    assert [json.loads(line) for line in result.out.splitlines()] == lines
