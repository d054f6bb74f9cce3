"""The second container of a migrated job: the user's legacy image, which runs the job's command for the worker.

It is a native sidecar (an init container that is restarted, Kubernetes ≥ 1.29): it is there before the worker begins,
and the kubelet ends it when the worker ends. The image needs a shell and coreutils, nothing of Spinner's. The two share
a folder; `spinner.runtime.legacy` is the other side of this protocol:

    command output stop    named pipes: the worker writes the command, reads its output, and says that it must end
    ready                  the pipes are there
    begun                  the command was taken
    status                 how it ended: `exit=3 oom=0 peak=<bytes> cpu=<nanoseconds>`, or `lost`

The script is process 1 of its container, so that ending reaches every process of the job. When the container dies under
the command, its successor finds `begun` without `status` and says `lost`; the command never runs twice. Whether it died
for want of memory, the pod's status tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spinner_executor.domain.pods import LEGACY

VOLUME = "legacy"
FOLDER = "/var/spinner/legacy"
# The worker only passes text on; what the job needs is the other container's.
WORKER_RESOURCES = {"requests": {"memory": "96Mi", "cpu": "20m"}, "limits": {"memory": "512Mi"}}

_SCRIPT = r"""
cd "$SPINNER_SHARED" || exit 1
say() { echo "$1" > .status && mv .status status; }
end_all() { kill -s TERM -- -1 2>/dev/null; }
rest() { trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done; }
number() { if [ -r "$1" ]; then read -r n < "$1" && echo "$n"; fi; }
field() { if [ -r "$1" ]; then while read -r name n; do [ "$name" = "$2" ] && echo "$n"; done < "$1"; fi; }

if [ -e begun ]; then [ -e status ] || say lost; rest; fi
[ -p command ] || mkfifo -m 660 command output stop || exit 1
ending=
trap 'ending=1; end_all' TERM
: > ready
cat command > .line & wait $!
[ -z "$ending" ] || exit 0
line=$(cat .line)
: > begun
shell=sh; command -v bash > /dev/null && shell=bash
( cd "$SPINNER_WORKDIR"; trap - TERM; exec "$shell" -c "$line" ) > output 2>&1 < /dev/null &
job=$!
( read -r grace < stop && { end_all; sleep "${grace:-10}"; kill -s KILL -- -1 2>/dev/null; } ) &
while :; do
  wait "$job"; code=$?
  kill -0 "$job" 2>/dev/null || break
done
oom=$(field /sys/fs/cgroup/memory.events oom_kill)$(field /sys/fs/cgroup/memory/memory.oom_control oom_kill)
peak=$(number /sys/fs/cgroup/memory.peak)$(number /sys/fs/cgroup/memory/memory.max_usage_in_bytes)
cpu=$(number /sys/fs/cgroup/cpuacct/cpuacct.usage)
[ -n "$cpu" ] || { cpu=$(field /sys/fs/cgroup/cpu.stat usage_usec); cpu=${cpu:+${cpu}000}; }
say "exit=$code oom=${oom:-0} peak=${peak:-0} cpu=${cpu:-0}"
[ -z "$ending" ] || exit 0
rest
"""


def container(image: str, pull_policy: str, security: Mapping[str, Any]) -> dict[str, Any]:
    """The container with the legacy image, for `initContainers`."""
    return {
        "name": LEGACY,
        "image": image,
        "imagePullPolicy": pull_policy,
        "restartPolicy": "Always",
        "command": ["/bin/sh", "-c", f'SPINNER_SHARED={FOLDER} SPINNER_WORKDIR="$PWD"\n{_SCRIPT.strip()}'],
        "securityContext": dict(security),
        "volumeMounts": [{"name": VOLUME, "mountPath": FOLDER}],
    }
