"""A small application that a server process of test_serving.py serves."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from app.core import errors, operations
from app.core.database import Database
from app.core.gateway import Gateway
from app.core.serving import on_stop
from app.core.settings import Settings


def create_app() -> FastAPI:
    """Streams that last until the stop, and a request that takes half a second."""
    stopping = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with on_stop(stopping.set):
            yield
        await app.state.database.close()

    settings = Settings()
    app = FastAPI(lifespan=lifespan)
    app.state.settings = settings
    app.state.database = Database(settings.database_url)
    errors.install(app)
    app.include_router(operations.router)
    app.add_middleware(Gateway, settings=settings)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield "data: open\n\n"
            await stopping.wait()
            yield "data: end\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/work")
    async def work() -> None:
        await asyncio.sleep(0.5)

    @app.post("/notes")
    async def note(request: Request) -> int:
        return len(await request.body())

    @app.get("/busy")
    async def busy() -> dict[str, int]:
        # Blocks the process, so that another one takes the next request.
        time.sleep(0.05)  # noqa: ASYNC251
        return {"process": os.getpid()}

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError("typed by a person")

    return app
