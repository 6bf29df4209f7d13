from functools import partial
from hashlib import sha256

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.accounts.hashing import Pool
from app.accounts.password_rules import MAX_LENGTH, normalised

# An account that signs in by codes alone.
NO_PASSWORD = "!"  # noqa: S105  the absence of one
# A code is looked up by its digest, so all have one salt: there are 10**11 of them, and each is good for a day.
_CODE_SALT = b"beacon one-time code"


class Passwords:
    """Argon2id, off the event loop and bounded, so that a flood of sign-ins stalls nobody else."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        self._hasher = hasher or Argon2Hasher()
        self._hash = PasswordHash((self._hasher,))
        self._pool = Pool()
        # What an unknown username is checked against, so that it takes as long as a known one.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The PHC string to store of a password that has been checked."""
        return await self._pool.run(partial(self._hash.hash, normalised(password)))

    async def verify(self, password: str, stored: str | None, *, stranger: str | None = None) -> bool:
        """Whether it is the password; False, after the same work, where nothing is stored.

        `stranger` is the address of one who comes from no known device. A Problem (429) when too many wait.
        """
        if len(password) > MAX_LENGTH or len(normalised(password)) > MAX_LENGTH * 4:
            return False
        known = None if stored == NO_PASSWORD else stored
        if await self._matches(normalised(password), known, stranger):
            return True
        # Passwords were once kept as they were typed.
        return normalised(password) != password and await self._matches(password, known, stranger)

    async def code_digest(self, code: str, *, stranger: str | None = None) -> str:
        """What is stored of a one-time code: as slow to guess as a password. A Problem (429) when too many wait."""
        made = await self._pool.run(partial(self._hasher.hash, code, salt=_CODE_SALT), stranger=stranger)
        return sha256(made.encode()).hexdigest()

    async def _matches(self, password: str, stored: str | None, stranger: str | None) -> bool:
        if stored is not None:
            return await self._pool.run(partial(self._hash.verify, password, stored), stranger=stranger)
        if self._nobody is None:
            # To hash once costs what a verification costs.
            self._nobody = await self._pool.run(partial(self._hash.hash, "nobody has this password"), stranger=stranger)
        else:
            await self._pool.run(partial(self._hash.verify, password, self._nobody), stranger=stranger)
        return False

    def close(self) -> None:
        """End the threads."""
        self._pool.close()
