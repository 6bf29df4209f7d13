import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.core.logs import configure, request_id
from app.core.settings import Settings

TYPED = "typed by a person"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def set_up() -> None:
    # In the test itself: pytest replaces sys.stderr between a fixture and its test.
    configure(Settings(log_level="info", log_json=True))


def read(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> None:
    raise ValueError(TYPED)


def test_own_and_library_lines_look_alike(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    token = request_id.set("abc")
    structlog.get_logger().info("own", level_of="red")
    logging.getLogger("some.library").info("theirs %s", 1)
    request_id.reset(token)

    own, theirs = read(capsys)
    assert (own["event"], own["level"], own["request_id"], own["level_of"]) == ("own", "info", "abc", "red")
    assert (theirs["event"], theirs["level"], theirs["request_id"]) == ("theirs 1", "info", "abc")
    assert theirs["logger"] == "some.library"


def test_of_an_exception_only_its_type_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("own")
        logging.getLogger("some.library").exception("theirs")

    found = capsys.readouterr().err
    assert TYPED not in found
    assert "Traceback" not in found
    assert [json.loads(line)["error"] for line in found.splitlines()] == ["ValueError", "ValueError"]


def test_a_lost_task_is_told_without_what_it_held(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()

    async def lose() -> None:
        async def failing() -> None:
            fail()

        context = {"message": "Task exception was never retrieved", "task": asyncio.ensure_future(failing())}
        try:
            await context["task"]  # type: ignore[misc]  # the handler's own mapping
        except ValueError as error:
            asyncio.get_running_loop().default_exception_handler({**context, "exception": error})

    asyncio.run(lose())

    found = capsys.readouterr().err
    assert "Task exception was never retrieved" in found
    assert TYPED not in found


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    structlog.get_logger().debug("own")
    logging.getLogger("some.library").debug("theirs")

    assert read(capsys) == []
