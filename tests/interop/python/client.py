"""`client.py CASE ADDRESS [ARGUMENT…]` makes the calls of one case, and prints
what comes back."""

import asyncio
import sys
from pathlib import Path

import grpc
from account.v1 import account_pb2, account_pb2_grpc
from chat.v1 import chat_pb2, chat_pb2_grpc
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    LocalizedMessage,
    ResourceInfo,
)
from grpc_status import rpc_status
from hello.v1 import hello_pb2, hello_pb2_grpc
from message.v1 import message_pb2, message_pb2_grpc
from order.v1 import order_pb2, order_pb2_grpc
from person.v1 import person_pb2, person_pb2_grpc
from person.v1.error_details_pb2 import SimilarNames
from till.v1 import till_pb2, till_pb2_grpc

TIMEOUT = 10  # seconds, for each call


# ANCHOR: failure
async def failure(call):
    """The error of a call that must fail."""
    try:
        response = await call
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"the call did not fail: {response}")
# ANCHOR_END: failure


def print_failed(error):
    print(f"{error.code().name}: {error.details()}")


# ANCHOR: hello
async def hello(address):
    async with grpc.aio.insecure_channel(address) as channel:
        greeter = hello_pb2_grpc.GreeterServiceStub(channel)

        def greet(name):
            request = hello_pb2.SayHelloRequest(name=name)
            return greeter.SayHello(request, timeout=TIMEOUT)

        for name in ["Ferris", "世界"]:
            print((await greet(name)).message)
        print_failed(await failure(greet("")))
# ANCHOR_END: hello


async def mailbox(address):
    async with grpc.aio.insecure_channel(address) as channel:
        mailboxes = message_pb2_grpc.MessageServiceStub(channel)

        def send(to, *contents):
            # `from` is a keyword of Python: this name has to be a string.
            messages = [{"from": "jack", "to": to, "content": c} for c in contents]
            requests = [message_pb2.SendMessagesRequest(message=m) for m in messages]
            return mailboxes.SendMessages(requests, timeout=TIMEOUT)

        def acknowledge(user, through):
            request = message_pb2.AcknowledgeMessagesRequest(user=user, through=through)
            return mailboxes.AcknowledgeMessages(request, timeout=TIMEOUT)

        print(f"taken {(await send('mike', '一', '二', '三')).taken}")
        request = message_pb2.ReceiveMessagesRequest(user="mike")
        call = mailboxes.ReceiveMessages(request, timeout=TIMEOUT)
        first = None
        for _ in range(3):
            response = await call.read()
            # The server's numbers begin anywhere: we count from one.
            first = first or response.number
            sender = getattr(response.message, "from")
            content = response.message.content
            print(f"{response.number - first + 1} {sender}: {content}")
        call.cancel()
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except asyncio.CancelledError:
            # Not a grpc.RpcError: it is we who have cancelled the call.
            pass
        print((await call.code()).name)

        await acknowledge("mike", response.number)
        print(f"acknowledged {response.number - first + 1}")
        # 李雷 has not received what is acknowledged here.
        await send("李雷", "四")
        print_failed(await failure(acknowledge("李雷", 2**64 - 1)))


# ANCHOR: chat
async def chat(address):
    async with grpc.aio.insecure_channel(address) as channel:
        stub = chat_pb2_grpc.ChatServiceStub(channel)
        jack = stub.Chat(metadata=[("from", "jack"), ("to", "mike")], timeout=TIMEOUT)
        await print_event("jack", jack)
        mike = stub.Chat(metadata=[("from", "mike"), ("to", "jack")], timeout=TIMEOUT)
        await print_event("mike", mike)
        await print_event("jack", jack)
        await jack.write(chat_pb2.ChatRequest(content="你好"))
        await print_event("mike", mike)
        await mike.write(chat_pb2.ChatRequest(content="再见"))
        await print_event("jack", jack)
        await print_end("mike", mike)
        await print_event("jack", jack)
        await print_end("jack", jack)

        without_names = stub.Chat(timeout=TIMEOUT)
        print_failed(await failure(without_names.read()))


async def print_event(who, call):
    response = await call.read()
    if response.WhichOneof("event") == "message":
        message = response.message
        print(f"{who}: {getattr(message, 'from')} says {message.content}")
    else:
        here = "here" if response.presence.here else "not here"
        print(f"{who}: {response.presence.name} is {here}")


async def print_end(who, call):
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    print(f"{who}: {(await call.code()).name}")
# ANCHOR_END: chat


async def metadata(address):
    # The value of a key that ends with -bin is bytes, that of any other a str.
    about_us = [
        ("name-bin", "李雷".encode()),
        ("voucher", "SPRING"),
        ("voucher", "NEW"),
    ]
    async with grpc.aio.insecure_channel(address) as channel:
        till = till_pb2_grpc.TillServiceStub(channel)
        request = till_pb2.GetPriceRequest(article="bread")
        call = till.GetPrice(request, metadata=about_us, timeout=TIMEOUT)
        headers = await call.initial_metadata()
        print(f"vouchers {headers['vouchers']}")
        print(f"greeting-bin {headers['greeting-bin'].decode()}")
        print(f"{(await call).cents} cents")
        trailers = await call.trailing_metadata()
        print(f"articles {trailers['articles']}")
        print(f"cents {trailers['cents']}")

        request = till_pb2.ListPricesRequest()
        call = till.ListPrices(request, metadata=about_us, timeout=TIMEOUT)
        async for price in call:
            print(f"{price.article} {price.cents}")
        print(f"articles {(await call.trailing_metadata())['articles']}")


async def person(address):
    async with grpc.aio.insecure_channel(address) as channel:
        registry = person_pb2_grpc.PersonServiceStub(channel)

        def create(*people):
            people = [person_pb2.Person(name=name, age=age) for name, age in people]
            requests = [person_pb2.CreatePeopleRequest(person=p) for p in people]
            return registry.CreatePeople(requests, timeout=TIMEOUT)

        def get(name):
            request = person_pb2.GetPersonRequest(name=name)
            return registry.GetPerson(request, timeout=TIMEOUT)

        response = await create(("jenny", 21), ("jack", 18))
        print(f"created {response.created}")
        jenny = (await get("jenny")).person
        print(f"{jenny.name} {jenny.age}")
        print_with_details(await failure(get("jeny")))
        print_with_details(await failure(create(("", 200))))


# ANCHOR: details
def print_with_details(error):
    print_failed(error)
    for packed in rpc_status.from_call(error).details:
        if packed.Is(ErrorInfo.DESCRIPTOR):
            info = ErrorInfo.FromString(packed.value)
            print(f"reason {info.reason} of {info.domain}")
        elif packed.Is(ResourceInfo.DESCRIPTOR):
            resource = ResourceInfo.FromString(packed.value)
            print(f"no {resource.resource_type} {resource.resource_name}")
        elif packed.Is(LocalizedMessage.DESCRIPTOR):
            localized = LocalizedMessage.FromString(packed.value)
            print(f"{localized.locale}: {localized.message}")
        elif packed.Is(BadRequest.DESCRIPTOR):
            request = BadRequest.FromString(packed.value)
            for violation in request.field_violations:
                print(f"{violation.field}: {violation.description}")
        elif packed.Is(SimilarNames.DESCRIPTOR):
            similar = SimilarNames.FromString(packed.value)
            print(f"similar: {', '.join(similar.names)}")
        else:
            raise AssertionError(f"a detail that we do not know: {packed}")
# ANCHOR_END: details


async def deadline(address):
    async with grpc.aio.insecure_channel(address) as channel:
        orders = order_pb2_grpc.OrderServiceStub(channel)
        request = order_pb2.PlaceOrderRequest(article="bread", count=1)
        error = await failure(orders.PlaceOrder(request, timeout=0.05))
        print(error.code().name)
        response = await orders.PlaceOrder(request, timeout=TIMEOUT)
        print(", ".join(response.hands))


async def tls(address, ca, certificate, key, other_ca):
    async def greet(authority, *identity):
        files = [Path(file).read_bytes() for file in (authority, *identity)]
        credentials = grpc.ssl_channel_credentials(*files)
        async with grpc.aio.secure_channel(address, credentials) as channel:
            greeter = hello_pb2_grpc.GreeterServiceStub(channel)
            request = hello_pb2.SayHelloRequest(name="Ferris")
            return await greeter.SayHello(request, timeout=TIMEOUT)

    print((await greet(ca, key, certificate)).message)
    print((await failure(greet(other_ca, key, certificate))).code().name)
    print((await failure(greet(ca))).code().name)


# ANCHOR: token
async def token(address, ca, access_token):
    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    bearer = grpc.access_token_call_credentials(access_token)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        accounts = account_pb2_grpc.AccountServiceStub(channel)
        request = account_pb2.GetBalanceRequest()
        call = accounts.GetBalance(request, credentials=bearer, timeout=TIMEOUT)
        print(f"{(await call).cents} cents")
        print_failed(await failure(accounts.GetBalance(request, timeout=TIMEOUT)))
        request = account_pb2.CloseAccountRequest()
        call = accounts.CloseAccount(request, credentials=bearer, timeout=TIMEOUT)
        print_failed(await failure(call))
# ANCHOR_END: token


CASES = [hello, mailbox, chat, metadata, person, deadline, tls, token]

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    case = {case.__name__: case for case in CASES}[name]
    asyncio.run(case(*arguments))
