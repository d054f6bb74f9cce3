"""What a file does while it is read: everything at its top level runs at each parse, on every machine.

The syntax tree shows it without running it; `ParseEvent`s show what the file really did.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from spinner_dagbag.checks.model import Problem, Severity, SourceSubject, check

_NETWORK = re.compile(
    r"(requests\.(get|post|put|delete|head|patch|options|request)"
    r"|httpx\.(get|post|put|delete|head|patch|request|stream)"
    r"|urllib\.request\.(urlopen|urlretrieve)|urllib3\.request"
    r"|boto3\.(client|resource)|socket\.create_connection|http\.client\.HTTPS?Connection"
    r"|(pymysql|MySQLdb|psycopg2?|mysql\.connector|snowflake\.connector|trino\.dbapi|prestodb\.dbapi)\.connect)"
)
_VARIABLE = re.compile(r"(.*\.)?Variable\.get")
_CONNECTION = re.compile(
    r"(.*\.)?(BaseHook\.get_connection|BaseHook\.get_hook|Connection\.get|Connection\.get_connection_from_secrets)"
)
_HIVE = re.compile(
    r"(.*\.)?(HiveMetastoreHook|HiveMetastoreClient|HMSClient|HiveServer2Hook)(\..+)?|pyhive\..*connect|hmsclient\..+"
)
_SLEEP = re.compile(r"time\.sleep|asyncio\.sleep")
_PROCESS = re.compile(r"subprocess\.(run|call|check_call|check_output|Popen)|os\.(system|popen)")
_NOW = re.compile(
    r"(.*\.)?(datetime\.(now|utcnow|today)|date\.today|timezone\.utcnow|pendulum\.(now|today|yesterday)|days_ago)|(time\.time)"
)
_HEAVY = re.compile(
    r"(pandas|numpy|scipy|sklearn|torch|tensorflow|pyspark|matplotlib|transformers|xgboost|lightgbm)(\..+)?"
)
_SECRET = re.compile(r"(?i)(^|_)(password|passwd|secret|api_?key|access_?key|auth_?token)$")
_HIVE_PORTS = {9083, 10000}


@check(
    "SPN040",
    "No network at the top level",
    Severity.WARNING,
    "Move the call into a task: at the top level it runs at every parse.",
    "source",
)
def no_network(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _NETWORK, "calls the network")
    for event in source.events:
        if event.kind == "connect" and not _is_hive(event.detail):
            yield Problem(f"Reading the file connects to {event.detail}", line=event.line)


@check(
    "SPN041",
    "No Variable.get at the top level",
    Severity.WARNING,
    'Use the template "{{ var.value.name }}", or call Variable.get inside a task.',
    "source",
)
def no_variables(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _VARIABLE, "reads a variable")


@check(
    "SPN042",
    "No connection look-up at the top level",
    Severity.WARNING,
    'Use the template "{{ conn.name.host }}", or look the connection up inside a task.',
    "source",
)
def no_connections(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _CONNECTION, "looks a connection up")


@check(
    "SPN043",
    "No Hive metastore at the top level",
    Severity.WARNING,
    "Ask the metastore inside a task, or wait with a partition sensor.",
    "source",
)
def no_metastore(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _HIVE, "calls the Hive metastore")
    for event in source.events:
        if event.kind == "connect" and _is_hive(event.detail):
            yield Problem(f"Reading the file connects to Hive at {event.detail}", line=event.line)


@check("SPN044", "No sleep at the top level", Severity.WARNING, "Remove the sleep, or move it into a task.", "source")
def no_sleep(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _SLEEP, "sleeps")
    for event in source.events:
        if event.kind == "sleep":
            yield Problem("Reading the file sleeps", line=event.line)


@check(
    "SPN045",
    "Start date is fixed",
    Severity.WARNING,
    "Write a fixed date, start_date=datetime(2026, 1, 1): a moving one never becomes due.",
    "source",
)
def start_date_is_fixed(source: SourceSubject) -> Iterator[Problem]:
    top = source.top
    for node in top.nodes():
        for name, value in _named_values(node):
            if name == "start_date":
                for call in ast.walk(value):
                    if isinstance(call, ast.Call) and (dotted := top.dotted(call.func)) and _NOW.fullmatch(dotted):
                        yield Problem(f"start_date is computed from {dotted}()", line=call.lineno)


@check(
    "SPN013",
    "Start date has a time zone",
    Severity.OFF,
    'Add tzinfo: datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")); without one it is UTC.',
    "source",
)
def start_date_has_a_zone(source: SourceSubject) -> Iterator[Problem]:
    top = source.top
    for node in top.nodes():
        for name, value in _named_values(node):
            if name == "start_date" and isinstance(value, ast.Call) and top.dotted(value.func) == "datetime.datetime":
                zoned = len(value.args) > 7 or any(keyword.arg == "tzinfo" for keyword in value.keywords)
                if not zoned:
                    yield Problem("start_date has no time zone", line=value.lineno)


@check("SPN046", "No processes at the top level", Severity.WARNING, "Start the program inside a task.", "source")
def no_processes(source: SourceSubject) -> Iterator[Problem]:
    yield from _calls(source, _PROCESS, "starts a program")
    for event in source.events:
        if event.kind == "process":
            yield Problem(f"Reading the file starts {event.detail}", line=event.line)


@check(
    "SPN047",
    "No heavy imports at the top level",
    Severity.WARNING,
    "Import it inside the function that uses it: every parse and every task pays for it.",
    "source",
)
def no_heavy_imports(source: SourceSubject) -> Iterator[Problem]:
    for node in source.top.nodes():
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if _HEAVY.fullmatch(name):
                yield Problem(f"The file imports {name} at its top level", line=node.lineno)


@check(
    "SPN048",
    "File is read quickly",
    Severity.WARNING,
    "Look for slow imports and calls at the top level.",
    "source",
    max_seconds=5,
)
def file_is_read_quickly(source: SourceSubject) -> Iterator[Problem]:
    if source.seconds > source.limit("max_seconds"):
        yield Problem(f"Reading the file takes more than {source.limit('max_seconds'):.0f} s")


@check(
    "SPN049",
    "No secrets in the source",
    Severity.WARNING,
    "Keep the value in a connection or a secret variable, and refer to it in a template.",
    "source",
)
def no_secrets(source: SourceSubject) -> Iterator[Problem]:
    for node in ast.walk(source.tree):
        for name, value in _named_values(node):
            text = value.value if isinstance(value, ast.Constant) else None
            if _SECRET.search(name) and isinstance(text, str) and len(text) >= 6 and "{{" not in text:
                yield Problem(f"{name} is written into the file", line=value.lineno)


@check("SPN050", "No star imports", Severity.WARNING, "Import the names that you use.", "source")
def no_star_imports(source: SourceSubject) -> Iterator[Problem]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield Problem(f"The file imports everything from {node.module}", line=node.lineno)


def _calls(source: SourceSubject, pattern: re.Pattern[str], what: str) -> Iterator[Problem]:
    top = source.top
    for node in top.nodes():
        if isinstance(node, ast.Call) and (name := top.dotted(node.func)) and pattern.fullmatch(name):
            yield Problem(f"{name}() at the top level {what}", line=node.lineno)


def _named_values(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Every (name, value) that a node binds: keywords, assignments, items of a dict display."""
    if isinstance(node, ast.Call):
        yield from ((keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, value


def _is_hive(address: str) -> bool:
    port = address.rpartition(":")[2]
    return port.isdigit() and int(port) in _HIVE_PORTS
