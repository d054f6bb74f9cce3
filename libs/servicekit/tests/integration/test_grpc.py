"""gRPC servers and clients of ours, over real sockets."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from spinner_servicekit import grpc_client, grpc_server
from spinner_servicekit.errors import Rejected

SERVICE = "test.Echo"


class BusyError(Exception):
    pass


def answer(text: str, context) -> StringValue:
    match text:
        case "refused":
            raise Rejected("NOT_FOUND", "run x doesn't exist", "list the runs", "RUN_UNKNOWN", {"run_id": "unknown"})
        case "busy":
            raise BusyError("come back later")
        case "bug":
            raise ZeroDivisionError("secret detail")
        case "aborted":
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "by the handler")
    return StringValue(value=f"{text} {grpc_server.remaining(context):.0f}")


def handlers(unary, stream):
    codec = (StringValue.FromString, StringValue.SerializeToString)
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Say": grpc.unary_unary_rpc_method_handler(unary, *codec),
            "Stream": grpc.unary_stream_rpc_method_handler(stream, *codec),
        },
    )


@pytest.fixture(params=["threads", "asyncio"])
def address(request):
    """A server of each kind with the same behaviour."""
    errors = {BusyError: grpc.StatusCode.UNAVAILABLE}
    if request.param == "threads":

        def stream(request, context):
            yield StringValue(value="one")
            yield answer(request.value, context)

        routes = handlers(lambda request, context: answer(request.value, context), stream)
        server = grpc_server.serve(
            "127.0.0.1:0", [SERVICE], lambda server: server.add_generic_rpc_handlers([routes]), errors
        )
        yield server.address
        server.stop(1)
        return

    async def say(request, context):
        if request.value == "slow":
            await asyncio.sleep(60)
        if request.value == "aborted":
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by the handler")
        return answer(request.value, context)

    async def stream_async(request, context):
        yield StringValue(value="one")
        yield await say(request, context)

    ready = threading.Event()
    found: dict[str, object] = {}

    async def serve() -> None:
        server = await grpc_server.serve_async(
            "127.0.0.1:0",
            [SERVICE],
            lambda server: server.add_generic_rpc_handlers([handlers(say, stream_async)]),
            errors,
            deadline_seconds=0.3,
        )
        found["address"], found["loop"], found["stop"] = server.address, asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await found["stop"].wait()
        await server.stop(1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield found["address"]
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join(10)


@pytest.fixture
def say(address):
    with grpc_client.channel(address, deadline_seconds=20) as channel:
        codec = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
        }
        unary = channel.unary_unary(f"/{SERVICE}/Say", **codec)
        stream = channel.unary_stream(f"/{SERVICE}/Stream", **codec)
        unary.stream = stream
        yield unary


def test_calls_carry_a_deadline(say):
    text, left = say(StringValue(value="hello")).value.split()
    assert text == "hello"
    assert 15 <= int(left) <= 20
    assert 4 <= int(say(StringValue(value="hello"), timeout=5).value.split()[1]) <= 5


def test_a_refusal_says_what_where_and_how_to_fix_it(say):
    with pytest.raises(grpc.RpcError) as raised:
        say(StringValue(value="refused"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "run x doesn't exist: list the runs"
    refusal = grpc_client.rejected(raised.value)
    assert (refusal.code, refusal.message, refusal.fix) == ("NOT_FOUND", "run x doesn't exist", "list the runs")
    assert (refusal.reason, refusal.fields) == ("RUN_UNKNOWN", {"run_id": "unknown"})


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        ("busy", grpc.StatusCode.UNAVAILABLE, "come back later"),
        ("bug", grpc.StatusCode.INTERNAL, "internal error; the service's log says more"),
        ("aborted", grpc.StatusCode.OUT_OF_RANGE, "by the handler"),
    ],
)
def test_other_failures_map_to_codes(say, text, code, details):
    for call in (lambda: say(StringValue(value=text)), lambda: list(say.stream(StringValue(value=text)))):
        with pytest.raises(grpc.RpcError) as raised:
            call()
        assert (raised.value.code(), raised.value.details()) == (code, details)
        assert grpc_client.rejected(raised.value) is None


def test_health_and_reflection(address):
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflection.ServerReflectionInfo(iter([request]), timeout=5)
        assert SERVICE in {service.name for service in listed.list_services_response.service}


@pytest.mark.parametrize("address", ["asyncio"], indirect=True)
def test_a_call_without_a_deadline_is_bounded_by_the_server(address):
    with grpc.insecure_channel(address) as channel:
        say = channel.unary_unary(f"/{SERVICE}/Say", StringValue.SerializeToString, StringValue.FromString)
        with pytest.raises(grpc.RpcError) as raised:
            say(StringValue(value="slow"))
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_taken_address_is_named(address):
    with pytest.raises(OSError, match=f"can't listen at {address}.*SPINNER_GRPC_ADDRESS"):
        grpc_server.serve(address, [], lambda server: None)
