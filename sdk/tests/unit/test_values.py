"""XCom values, template macros, sensors' pauses, triggers."""

from __future__ import annotations

import asyncio
import enum
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spinner import macros
from spinner.core.values import ValueNotSerializable, decode_json, encode_json
from spinner.runtime import local_frames
from spinner.sensors import BaseSensorOperator
from spinner.triggers import TriggerEvent, load_trigger, trigger_arguments
from spinner.triggers.file import FileTrigger
from spinner.triggers.temporal import DateTimeTrigger

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates(),
    st.timedeltas(), st.decimals(allow_nan=False), st.uuids(), st.datetimes(timezones=st.just(UTC)), st.datetimes(),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.just("__type__")), inner, max_size=4),
        st.frozensets(LEAVES, max_size=3),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_values_read_back_as_they_were_written(value):
    assert decode_json(encode_json(value, "x")) == value


def test_types_survive():
    class Colour(enum.Enum):
        RED = "r"

    value = {
        "t": (1,), "s": {1}, "d": Decimal("1.10"), "u": UUID(int=5), "e": Colour.RED, "day": date(2026, 1, 1),
        "z": datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), "inf": float("inf"),
    }  # fmt: skip
    back = decode_json(encode_json(value, "x"))
    assert back == {**value, "e": "r"}
    assert back["z"].tzinfo == ZoneInfo("Europe/Berlin")
    assert str(back["d"]) == "1.10"


def test_what_has_no_json_form_is_named():
    with pytest.raises(ValueNotSerializable, match=r"The XCom 'k'\['a'\]\[1\] is a builtins.object"):
        encode_json({"a": [0, object()]}, "The XCom 'k'")
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueNotSerializable, match="contains itself"):
        encode_json(loop, "x")


def test_macros():
    assert macros.ds_add("2026-02-28", 1) == "2026-03-01"
    assert macros.ds_format("2026-02-28", "%Y-%m-%d", "%d.%m.%y") == "28.02.26"


def test_backoff_grows_and_stays_below_its_limit():
    sensor = BaseSensorOperator(task_id="s", poke_interval=2, exponential_backoff=True, max_wait=60)
    pauses = [sensor.next_pause(number, "seed") for number in range(1, 12)]
    assert pauses == [sensor.next_pause(number, "seed") for number in range(1, 12)]
    assert all(pause <= 60 for pause in pauses)
    assert pauses[0] < 4 and pauses[-1] == 60


def first_event(trigger) -> TriggerEvent:
    async def run() -> TriggerEvent:
        return await anext(aiter(trigger.run()))

    return asyncio.run(asyncio.wait_for(run(), 5))


def test_triggers_survive_their_own_encoding(tmp_path):
    moment = datetime.now(UTC) + timedelta(milliseconds=20)
    again = load_trigger(*trigger_arguments(DateTimeTrigger(moment)))
    assert first_event(again) == TriggerEvent(moment)
    assert datetime.now(UTC) >= moment
    (tmp_path / "a.csv").touch()
    event = first_event(load_trigger(*trigger_arguments(FileTrigger(str(tmp_path / "*.csv")))))
    assert event.payload["status"] == "success"


def test_frames_refuse_what_they_do_not_know():
    with pytest.raises(local_frames.FrameError, match="no method 'Nope'"):
        local_frames.decode_request(b"\x04Nope")
    with pytest.raises(local_frames.FrameError, match="before the name"):
        local_frames.decode_request(b"\x09St")
    assert set(local_frames.METHODS) >= {"GetWork", "Start", "Finish", "PublishLayout"}
