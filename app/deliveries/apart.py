"""Calls that block, each in a thread of its own: one that hangs takes nobody else's place."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def apart(call: Callable[..., Result], *given: Any) -> Result:
    """What the call answers. Who stops waiting leaves it behind: it must end by itself, by timeouts of its own."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only when that is the result

    def work() -> None:
        result, error = None, None
        try:
            result = call(*given)
        except Exception as raised:  # noqa: BLE001  it is raised again where it is waited for
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop has been closed: nobody waits any more.
            return

    threading.Thread(target=work, daemon=True, name="apart").start()
    return await done
