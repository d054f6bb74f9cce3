"""Names and labels of pods stay within Kubernetes' limits, and differ whenever the try or segment does."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from spinner_executor.domain import podnames
from spinner_executor.domain.keys import try_key_text
from spinner_proto.common.v1.common_pb2 import TryKey

IDS = st.from_regex(r"[A-Za-z0-9_.-]{1,250}", fullmatch=True)
RUN_IDS = st.from_regex(r"[A-Za-z0-9_.~:+-]{1,250}", fullmatch=True)
KEYS = st.builds(
    TryKey, dag_id=IDS, run_id=RUN_IDS, task_id=IDS, map_index=st.integers(-1, 10**6), try_number=st.integers(1, 999)
)
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def name(key: TryKey, segment: int = 0) -> str:
    return podnames.pod_name(key, try_key_text(key), segment)


@given(KEYS, st.integers(0, 10**4))
@example(TryKey(dag_id="-._", run_id="r", task_id="...", map_index=-1, try_number=1), 0)
def test_a_pod_name_is_a_dns_label(key: TryKey, segment: int) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name(key, segment))
    assert name(key, segment) == name(key, segment)


@given(KEYS, KEYS, st.integers(0, 3), st.integers(0, 3))
def test_different_segments_of_different_tries_have_different_names(
    one: TryKey, other: TryKey, first: int, second: int
) -> None:
    assert (name(one, first) == name(other, second)) == ((one, first) == (other, second))


@given(KEYS)
def test_labels_are_valid_and_tell_values_apart(key: TryKey) -> None:
    made = podnames.labels(key, "spinner", 3)
    assert all(len(value) <= 63 and LABEL.fullmatch(value) for value in made.values())
    longer = TryKey()
    longer.CopyFrom(key)
    longer.run_id += "x"
    assert podnames.labels(longer, "spinner", 3)[podnames.RUN] != made[podnames.RUN]


def test_a_name_can_be_read() -> None:
    key = TryKey(dag_id="Sales_daily", run_id="r", task_id="load.orders", map_index=7, try_number=2)
    assert re.fullmatch(r"sales-daily-load-orders-7-2-s1-[a-z2-7]{24}", name(key, 1))
    long = TryKey(dag_id="d" * 100, run_id="r", task_id="t" * 100, map_index=-1, try_number=1)
    assert re.fullmatch(r"d{17,18}-t{17,18}-1-[a-z2-7]{24}", name(long))


def test_a_label_keeps_what_is_valid_and_hashes_what_is_not() -> None:
    assert podnames.label("plain-id_1.x") == "plain-id_1.x"
    assert re.fullmatch(
        r"manual__2026-11-27T08-00-00-00-00-[a-z2-7]{10}", podnames.label("manual__2026-11-27T08:00:00+00:00")
    )
    assert podnames.label("") == ""
