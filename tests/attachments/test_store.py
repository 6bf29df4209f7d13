from pathlib import Path

import pytest

from app.attachments.store import Store, open_store
from app.core.errors import Problem
from app.core.settings import Settings
from tests.attachments.bucket import serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("database_url", "place"),
    [
        ("sqlite+aiosqlite:////var/lib/beacon/b.db", "/var/lib/beacon/attachments"),
        ("sqlite+aiosqlite:///:memory:", f"{Path.cwd()}/data/attachments"),
        ("postgresql+asyncpg://beacon@db.example/beacon", f"{Path.cwd()}/data/attachments"),
    ],
)
def test_without_a_setting_it_is_a_directory_beside_the_database(database_url: str, place: str) -> None:
    assert open_store(Settings(database_url=database_url)).url == f"file://{place}"


def test_the_setting_names_it() -> None:
    assert open_store(Settings(attachments_url="s3://bucket/beacon")).url == "s3://bucket/beacon"


def test_nothing_is_made_before_it_is_used(tmp_path: Path) -> None:
    open_store(Settings(attachments_url=(tmp_path / "a").as_uri()))

    assert list(tmp_path.iterdir()) == []


async def keeps(store: Store) -> None:
    """What both kinds of store do."""
    await store.put("uploads/city-1/a.jpg/x/0-3", b"abc")
    await store.put("uploads/city-1/a.jpg/x/3-5", b"de")
    await store.put("uploads/city-1/a.jpg.b/x/0-3", b"xyz")
    await store.put("uploads/city-1/a.jpg/x/3-5", b"DE")

    assert await store.get("uploads/city-1/a.jpg/x/3-5") == b"DE"
    names = [name for name, _ in await store.names("uploads/city-1/a.jpg")]
    assert sorted(names) == ["uploads/city-1/a.jpg/x/0-3", "uploads/city-1/a.jpg/x/3-5"]
    assert await store.names("stored") == []
    await store.delete(names)
    await store.delete(names)
    await store.delete([])
    assert [name for name, _ in await store.names("uploads")] == ["uploads/city-1/a.jpg.b/x/0-3"]
    assert await store.get(names[0]) is None


async def test_a_directory_keeps_what_it_is_given(tmp_path: Path) -> None:
    await keeps(Store((tmp_path / "some where").as_uri()))


async def test_a_bucket_keeps_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as bucket:
        for name, value in {
            "AWS_ENDPOINT": bucket.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "here",
        }.items():
            monkeypatch.setenv(name, value)
        store = Store("s3://beacon/photos")

        await keeps(store)

        assert list(bucket.objects) == ["photos/uploads/city-1/a.jpg.b/x/0-3"]
        bucket.away = True
        for refused in (store.put("a", b"b"), store.names("a"), store.get("a")):
            with pytest.raises(Problem) as problem:
                await refused
            assert problem.value.kind.code == "store_away"
