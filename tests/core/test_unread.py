"""Against a real server: what is refused on the headers is answered while its body is still to come."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

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
@pytest.mark.parametrize(
    "served", [{"BEACON_BODY_SECONDS": "0.3", "BEACON_BODY_BYTES_PER_SECOND": "100"}], indirect=True
)
def test_a_body_that_drips_is_cut_off(served: Served) -> None:
    form = request("/v1/auth/token", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000")

    head, body = sent(served, form, *[b"u"] * 30, pause=0.05)

    assert head.startswith(b"http/1.1 408")
    assert json.loads(body)["code"] == "body_slow"
