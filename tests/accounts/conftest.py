import pytest
from fastapi import FastAPI

from app.accounts.passwords import Passwords
from tests.accounts.people import cheap


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    """The application, hashing passwords cheaply."""
    app.state.passwords.close()
    app.state.passwords = Passwords(cheap())
    return app
