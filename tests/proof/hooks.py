"""What the fuzzer is told of Beacon: which ids exist, what is never sent, and what every refusal looks like.

Loaded by Schemathesis through SCHEMATHESIS_HOOKS; `BEACON_PROOF_WORLD` names the file of `World`.
"""

import os
import random
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from tests.proof.world import CHANNEL, WEBHOOK, World

WORLD = World.read(Path(os.environ["BEACON_PROOF_WORLD"]))
PROBLEM = "application/problem+json"
# An exception's text or a path of the server has no place in an answer.
LEAKS = ("Traceback (most recent", "sqlalchemy", "asyncpg", "site-packages", 'File "/')


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the time an id that exists stands in for one that was made up."""
    for name, made_up in (path_parameters or {}).items():
        # Drawn from what was made up: a run repeats itself.
        rng = random.Random(f"{name} {made_up!r}")
        if name in WORLD.known and rng.random() < 0.5:
            assert path_parameters is not None
            path_parameters[name] = rng.choice(WORLD.known[name])
    return path_parameters


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """No long poll waits."""
    if query and isinstance(query.get("wait"), int | float) and not isinstance(query["wait"], bool):
        query["wait"] = min(query["wait"], 0)
    return query


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Incidents and offices that exist are named, and no receiver is anywhere."""
    if not isinstance(body, dict):
        return body
    for name, known in (
        ("incident_id", "incident_id"),
        ("into", "incident_id"),
        ("other", "incident_id"),
        ("node", "code"),
        ("to", "code"),
    ):
        rng = random.Random(f"{name} {body.get(name)!r}")
        if isinstance(body.get(name), str) and rng.random() < 0.7:
            body[name] = rng.choice(WORLD.known[known])
    if isinstance(url := body.get("url"), str) and ":" in url:
        body["url"] = WEBHOOK if url.startswith("http") else CHANNEL
    return body


@schemathesis.check
def refusals_are_problems(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """A refusal is a problem with a stable code and a sentence, and tells nothing of the inside."""
    if response.status_code < 400:
        return
    if case.operation.path in ("/healthz", "/readyz", "/metrics") or case.method == "HEAD":
        return
    kind = response.headers.get("content-type", [""])[0]
    assert kind.startswith(PROBLEM), f"{response.status_code} as {kind}"
    told = response.json()
    assert isinstance(told, dict)
    assert told.get("code"), told
    assert told.get("detail") or told.get("title"), told
    for leak in LEAKS:
        assert leak not in response.text, f"{leak} in the answer"
