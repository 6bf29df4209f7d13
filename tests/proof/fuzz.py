"""Schemathesis over the whole API document, with every kind of sign-in, against a real server.

`python -m tests.proof.fuzz --database sqlite --seconds 300 --seed 1` runs it alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.bed import postgres
from tests.processes import ROOT, serving
from tests.proof.world import World, fill, prepare

CHECKS = "not_a_server_error,refusals_are_problems"
# It never ends.
ENDLESS = "/v1/alerts/stream"
ANONYMOUS = "nobody"


def main() -> int:
    """Return the exit code: 1 when an answer was a fault; what to run to see it again is printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.fuzz", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=int, default=300, help="for all sign-ins together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--as", dest="sign_in", help="one sign-in alone: reporter, desk, supervisor, admin, key, nobody"
    )
    asked = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if asked.database == "sqlite":
            url = f"sqlite+aiosqlite:///{directory}/fuzz.db"
        else:
            server = stack.enter_context(postgres.running())
            server.create("fuzz")
            url = server.url("fuzz")
        prepare(url)
        served = stack.enter_context(serving(url, BEACON_ATTACHMENTS_URL=f"file://{directory}/attachments"))
        world = fill(served.url)
        known = directory / "world.json"
        world.write(known)
        kinds = [asked.sign_in] if asked.sign_in else [*world.tokens, ANONYMOUS]
        failed = [
            kind
            for kind in kinds
            if not _fuzz(served.url, world, known, kind, seconds=max(10, asked.seconds // len(kinds)), seed=asked.seed)
        ]
        assert httpx.get(f"{served.url}/readyz", timeout=30).status_code == 200, "the server is not ready afterwards"
    for kind in failed:
        print(
            f"again: python -m tests.proof.fuzz --database {asked.database} --seed {asked.seed} "
            f"--seconds {max(10, asked.seconds // len(kinds))} --as {kind}"
        )
    print(f"fuzz {asked.database}, seed {asked.seed}: {len(kinds) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _fuzz(url: str, world: World, known: Path, kind: str, *, seconds: int, seed: int) -> bool:
    """Whether every answer that a sign-in got was one that may be given."""
    print(f"== as {kind}, seed {seed}, {seconds} s", flush=True)
    signed_in = {} if kind == ANONYMOUS else {"Authorization": f"Bearer {world.tokens[kind]}"}
    command = [
        *(str(Path(sys.executable).parent / "st"), "run", f"{url}/openapi.json"),
        *("--checks", CHECKS, "--seed", str(seed), "--max-time", str(seconds), "--exclude-path", ENDLESS),
        *("--continue-on-failure", "--request-timeout", "30", "--warnings", "off", "--no-color"),
        *("--generation-database", "none", "--suppress-health-check", "all", "--max-failures", "20"),
        *(part for name, value in signed_in.items() for part in ("-H", f"{name}: {value}")),
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.proof.hooks", "BEACON_PROOF_WORLD": str(known)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if signed_in and httpx.get(f"{url}/v1/me", headers=signed_in, timeout=30).status_code != 200:
        print(f"{kind} is signed in no longer: what came after that shows nothing")
        return False
    return done.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
