"""Triggerer processes: asyncio loops that wait for the triggers of deferred tries of one bundle version.

Triggers are user code, so they run here and never in the executor. `__main__` and `running` are the process, `process`
is the executor's end of it, `calls` what triggers may ask, `ledger` the memory that both look at.

JSON lines to the process (stdin):
    {"start": id, "slot": n, "class": …, "arguments": …}   {"stop": id}   {"told": watch, "states": […] or null}
    {"answer": n, "status": 0, "body": …}
and from it (its first stdout):
    {"fired": id, "payload": …}   {"failed": id, "error": …}   {"log": id, "text": …}
    {"watch": n, "dag_id": …, "run_id": …, "logical_date": …, "task_ids": […]}   {"unwatch": n}
    {"ask": n, "trigger": id, "name": "GetConnection", "request": …}
"""
