import httpx
import pytest

from app.demo.keys import Keys, OfficeRefused
from app.demo.link import SignInRefused
from tests.demo.fake import FakeBeacon
from tests.demo.replaying import failing, replay, step


def test_every_office_gets_one_key_and_all_are_revoked_at_the_end() -> None:
    server = FakeBeacon()

    keys = Keys()
    replay(server, [step(1), step(2), step(3, node="b")], keys=keys)

    assert sorted(server.keys.values()) == ["a", "b"]
    assert sorted(server.revoked) == ["id-a", "id-b"]
    assert keys.left == 0


def test_a_wrong_password_is_refused_before_any_key_is_made() -> None:
    server = FakeBeacon()

    with pytest.raises(SignInRefused, match="401 wrong"):
        replay(server, [step(1)], password="no")

    assert server.keys == {}


def test_an_office_the_server_does_not_know_ends_the_replay_and_revokes_what_was_given() -> None:
    server = FakeBeacon()

    def unknown(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/keys" and b'"b"' in request.content:
            return httpx.Response(422, json={"detail": "There is no node b."})
        return None

    server.before = unknown

    with pytest.raises(OfficeRefused, match="office b: 422 There is no node b"):
        replay(server, [step(1), step(2, node="b")])

    assert server.received == []
    assert server.revoked == ["id-a"]


def test_the_admin_signs_in_once_and_again_only_when_the_token_has_ended() -> None:
    server = FakeBeacon()
    server.before = failing(1, "/v1/keys/id-a", httpx.Response(401))

    keys = Keys()
    replay(server, [step(1), step(2, node="b")], keys=keys)

    assert server.sign_ins == 2
    assert sorted(server.revoked) == ["id-a", "id-b"]
    assert keys.left == 0
