"""How Beacon is served, and how it stops."""

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn

from app.core.connections import Connection
from app.core.logs import dict_config
from app.core.metrics import SHARED
from app.core.settings import Settings

# What was begun may take this long to end after a signal; streams and waiting polls end at once (see `on_stop`).
GRACE_SECONDS = 10


def serve(app_factory: str, *, host: str, port: int, workers: int = 1) -> None:
    """Serve what `module:function` makes until SIGTERM or SIGINT.

    `X-Forwarded-For` is believed from `BEACON_TRUSTED_PROXIES` alone.
    """
    settings = Settings()
    with ExitStack() as stack:
        if workers > 1 and not os.environ.get(SHARED):
            directory = tempfile.mkdtemp(prefix="beacon-metrics-")
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            os.environ[SHARED] = directory
        uvicorn.run(
            app_factory,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=Connection,
            forwarded_allow_ips=settings.trusted_proxies,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=dict_config(settings),
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )


@contextmanager
def on_stop(call: Callable[[], None]) -> Iterator[None]:
    """Within: `call` runs in the running event loop as soon as the server is told to stop.

    For the application's lifespan. The server waits for open answers before it ends the lifespan, so whatever
    holds one open (a stream, a waiting poll) has to hear of the stop earlier. Each worker has signals of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def told(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(call)
        server = before[signal.Signals(number)]
        assert callable(server)
        server(number, frame)

    # Where no server listens for the signal (a test, a script) it keeps its meaning.
    ours = [number for number, handler in before.items() if callable(handler)]
    for number in ours:
        signal.signal(number, told)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
