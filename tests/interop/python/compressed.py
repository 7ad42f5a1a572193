"""`compressed.py CASE ADDRESS` runs one of the cases about compression of gRPC's
interoperability tests. It prints nothing, or why the case has failed."""

import gzip
import os
import pkgutil
import sys

import grpc
from grpc import Compression

# The package of the contract is called `grpc`, as the library is: with this, Python
# looks for the generated modules inside of the library too.
grpc.__path__ = pkgutil.extend_path(grpc.__path__, grpc.__name__)

from grpc.testing import test_pb2, test_pb2_grpc

TIMEOUT = 10  # seconds, for each call


class Failed(Exception):
    pass


def check(is_so, otherwise):
    if not is_so:
        raise Failed(otherwise)


def zeros(size):
    return test_pb2.Payload(body=bytes(size))


def boolean(value):
    return test_pb2.BoolValue(value=value)


def check_refused(call, *arguments):
    try:
        call(*arguments)
    except grpc.RpcError as error:
        check(
            error.code() is grpc.StatusCode.INVALID_ARGUMENT,
            f"the probe ended with {error.code().name}: {error.details()}",
        )
    else:
        raise Failed("the probe went well: the server does not look at the flag")


def check_size(what, size, expected):
    check(size == expected, f"{what} has {size} bytes, not {expected}")


def client_compressed_unary(address):
    with grpc.insecure_channel(address) as channel:
        stub = test_pb2_grpc.TestServiceStub(channel)

        def call(expect_compressed, compression):
            request = test_pb2.SimpleRequest(
                expect_compressed=boolean(expect_compressed),
                response_size=314159,
                payload=zeros(271828),
            )
            response = stub.UnaryCall(request, compression=compression, timeout=TIMEOUT)
            check_size("the response", len(response.payload.body), 314159)

        check_refused(call, True, Compression.NoCompression)
        call(True, Compression.Gzip)
        call(False, Compression.NoCompression)


def client_compressed_streaming(address):
    first = test_pb2.StreamingInputCallRequest(
        expect_compressed=boolean(True), payload=zeros(27182)
    )
    # Only a whole call can be compressed or not. But what gzip would make longer is
    # sent as it is: random bytes, where the description of the case has zeros.
    second = test_pb2.StreamingInputCallRequest(
        expect_compressed=boolean(False),
        payload=test_pb2.Payload(body=os.urandom(45904)),
    )
    with grpc.insecure_channel(address) as channel:
        stub = test_pb2_grpc.TestServiceStub(channel)

        def call(requests, compression):
            return stub.StreamingInputCall(
                iter(requests), compression=compression, timeout=TIMEOUT
            )

        check_refused(call, [first], Compression.NoCompression)
        response = call([first, second], Compression.Gzip)
        check_size("everything", response.aggregated_payload_size, 27182 + 45904)


# The library does not say whether a message came compressed. But if it must not
# unpack, we are given the bytes that came.
AS_IT_CAME = [("grpc.per_message_decompression", 0)]


def check_response(message, kind, size, compressed):
    # No message of Protocol Buffers begins with the first byte of gzip's: it stands
    # for a field of the type 7, and there is none.
    was_compressed = message.startswith(b"\x1f\x8b")
    check(
        was_compressed == compressed,
        f"the response of {size} bytes: compressed is {was_compressed}, not {compressed}",
    )
    if was_compressed:
        message = gzip.decompress(message)
    check_size("the response", len(kind.FromString(message).payload.body), size)


def server_compressed_unary(address):
    with grpc.insecure_channel(address, AS_IT_CAME) as channel:
        call = channel.unary_unary(
            "/grpc.testing.TestService/UnaryCall",
            test_pb2.SimpleRequest.SerializeToString,
        )
        for compressed in [True, False]:
            request = test_pb2.SimpleRequest(
                response_compressed=boolean(compressed),
                response_size=314159,
                payload=zeros(271828),
            )
            message = call(request, timeout=TIMEOUT)
            check_response(message, test_pb2.SimpleResponse, 314159, compressed)


def server_compressed_streaming(address):
    expected = [(31415, True), (92653, False)]
    request = test_pb2.StreamingOutputCallRequest(
        response_parameters=[
            test_pb2.ResponseParameters(size=size, compressed=boolean(compressed))
            for size, compressed in expected
        ]
    )
    with grpc.insecure_channel(address, AS_IT_CAME) as channel:
        call = channel.unary_stream(
            "/grpc.testing.TestService/StreamingOutputCall",
            test_pb2.StreamingOutputCallRequest.SerializeToString,
        )
        messages = list(call(request, timeout=TIMEOUT))
    check(len(messages) == 2, f"{len(messages)} responses came, not 2")
    for message, (size, compressed) in zip(messages, expected):
        check_response(message, test_pb2.StreamingOutputCallResponse, size, compressed)


CASES = [
    client_compressed_unary,
    server_compressed_unary,
    client_compressed_streaming,
    server_compressed_streaming,
]

if __name__ == "__main__":
    name, address = sys.argv[1:]
    case = {case.__name__: case for case in CASES}[name]
    try:
        case(address)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    except Failed as failed:
        sys.exit(str(failed))
