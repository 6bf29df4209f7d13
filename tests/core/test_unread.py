"""Against a real server: what is refused on the headers is answered while its body is still to come."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from app.core.settings import Settings
from app.main import create_app
from tests.builders import CITY
from tests.conftest import token_of
from tests.core.everyroute import OPEN_TO_ALL, ways
from tests.processes import Served, serving


@pytest.fixture(params=[{}])
def served(database_url: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(database_url, **request.param) as found:
        yield found


def sent(served: Served, *pieces: bytes, pause: float = 0) -> tuple[bytes, bytes]:
    """The head and the body of the answer to these pieces; the server must close the connection after it."""
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        received = b""
        while some := connection.recv(65536):
            received += some
    head, _, body = received.partition(b"\r\n\r\n")
    return head.lower(), body


def request(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: beacon.test", *headers, "", ""]).encode()


BATCH = request("/v1/reports/batch", "Content-Type: application/json", "Content-Length: 8000000")
CHUNKED = request("/v1/reports/batch", "Content-Type: application/json", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("pieces", [(BATCH,), (CHUNKED,), (BATCH, b"x" * 8_000_000)])
def test_an_anonymous_body_is_refused_while_it_is_still_to_come(served: Served, pieces: tuple[bytes, ...]) -> None:
    head, body = sent(served, *pieces)

    assert head.startswith(b"http/1.1 401")
    assert b"connection: close" in head
    assert json.loads(body)["code"] == "sign_in_required"


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
def test_on_every_route_the_headers_alone_are_answered(served: Served, settings: Settings) -> None:
    checked = 0
    for way in ways(create_app(settings), "/v1"):
        if way.template in OPEN_TO_ALL or way.method in ("GET", "HEAD"):
            continue
        announced = request(way.path, "Content-Type: application/json", "Content-Length: 8000000")

        head, body = sent(served, announced.replace(b"POST", way.method.encode(), 1))

        assert head.startswith(b"http/1.1 401"), way
        assert json.loads(body)["code"] == "sign_in_required"
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "served", [{"BEACON_BODY_SECONDS": "0.3", "BEACON_BODY_BYTES_PER_SECOND": "100"}], indirect=True
)
def test_a_body_that_drips_is_cut_off(served: Served) -> None:
    form = request("/v1/auth/token", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000")

    head, body = sent(served, form, *[b"u"] * 30, pause=0.05)

    assert head.startswith(b"http/1.1 408")
    assert json.loads(body)["code"] == "body_slow"


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("served", [{"BEACON_HEADER_LIMIT_BYTES": "4096"}], indirect=True)
@pytest.mark.parametrize(
    "pieces",
    [
        (request("/healthz", "X-Long: " + "a" * 5000),),
        (request("/" + "a" * 5000),),
        (b"GET /healthz HTTP/1.1\r\nX-Long: ", b"a" * 3000, b"a" * 3000),
        (b"GET /", b"a" * 3000, b"a" * 3000),
    ],
)
def test_a_head_that_is_too_large_is_refused(served: Served, pieces: tuple[bytes, ...]) -> None:
    head, body = sent(served, *pieces, pause=0.05)

    assert head.startswith(b"http/1.1 431")
    assert b"application/problem+json" in head
    assert (json.loads(body)["code"], json.loads(body)["limit"]) == ("head_too_large", 4096)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("served", [{"BEACON_HEADER_SECONDS": "0.5"}], indirect=True)
def test_a_head_that_does_not_come_is_not_waited_for(served: Served) -> None:
    silent, _ = sent(served)
    head, body = sent(served, b"GET /healthz HTTP/1.1\r\n")
    with httpx.Client(base_url=served.url) as kept:
        # The connection lives on between requests, for the time of keep-alive.
        for _ in range(2):
            assert kept.get("/healthz").status_code == 200
            time.sleep(0.8)
        assert len(kept._transport._pool.connections) == 1  # type: ignore[attr-defined]  # no public way to see it

    assert silent == b""
    assert head.startswith(b"http/1.1 408")
    assert json.loads(body)["code"] == "head_slow"


@pytest.fixture
def connected(served: Served) -> Iterator[Callable[[], socket.socket]]:
    """Opens connections, which are closed at the end."""
    with ExitStack() as stack:
        port = int(served.url.rpartition(":")[2])
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))


def asked(connection: socket.socket, *headers: str) -> bytes:
    """The first line of the answer to GET /v1/me."""
    connection.sendall("\r\n".join(["GET /v1/me HTTP/1.1", "Host: beacon.test", *headers, "", ""]).encode())
    received = b""
    while not received.endswith(b"}") and (some := connection.recv(65536)):
        received += some
    return received.partition(b"\r\n")[0]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "served", [{"BEACON_CONNECTIONS_PER_ADDRESS": "3", "BEACON_TRUSTED_PROXIES": ""}], indirect=True
)
def test_an_address_has_so_many_connections_without_a_sign_in(connected: Callable[[], socket.socket]) -> None:
    bearer = f"Authorization: Bearer {token_of(CITY, 'desk')}"
    signed_in = []
    for _ in range(6):
        signed_in.append(connected())
        assert asked(signed_in[-1], bearer) == b"HTTP/1.1 200 OK"

    # Silent ones give way, the oldest first.
    silent = [connected() for _ in range(5)]
    assert silent[0].recv(1) == b""
    assert asked(silent[4]) == b"HTTP/1.1 401 Unauthorized"

    # Busy ones do not: a stranger is refused, and who signs in is not.
    kind = "Content-Type: application/x-www-form-urlencoded"
    form = request("/v1/auth/token", kind, "Content-Length: 1000", "Expect: 100-continue")
    busy = [connected() for _ in range(3)]
    for one in busy:
        one.sendall(form)
        assert one.recv(65536).startswith(b"HTTP/1.1 100")
    assert asked(connected()) == b"HTTP/1.1 429 Too Many Requests"
    assert asked(connected(), bearer) == b"HTTP/1.1 200 OK"
    assert {asked(one, bearer) for one in signed_in} == {b"HTTP/1.1 200 OK"}
