"""Whatever the link does, and whenever the device wakes: all that was put is at the server once, as it was said."""

import asyncio
import json
import random
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.clock import ManualClock
from tests.builders import NOON, report
from tests.field.devices import Device, device
from tests.field.links import Faults
from tests.field.server import Server

Files = dict[tuple[str, str], bytes]

acts = st.lists(
    st.sampled_from(["put", "put urgent", "put tiny", "correct", "attach", "step", "wake", "wait", "late"]),
    min_size=1,
    max_size=40,
)
chances = st.sampled_from([0.0, 0.1, 0.25])
faults = st.builds(Faults, drop_request=chances, drop_answer=chances, duplicate=chances, delay=chances)


@settings(max_examples=100)
@given(acts=acts, faults=faults, troubles=chances, seed=st.integers(0, 2**32))
def test_every_interleaving_ends_with_everything_stored_exactly_once(
    acts: list[str], faults: Faults, troubles: float, seed: int
) -> None:
    rng = random.Random(seed)
    server = Server(random.Random(seed + 1), troubles=troubles)
    clock = ManualClock(NOON)
    phone = device(server, clock=clock, session="t", seed=seed, faults=faults)

    async def live() -> Files:
        files: Files = {}
        ids: list[str] = []
        for act in acts:
            await _do(act, phone, ids, files, rng)
        await phone.deliver()
        await phone.link.deliver_late()
        await phone.deliver()
        return files

    files = asyncio.run(live())

    shown = {one: phone.outbox.report(one) for one in phone.outbox.reports()}
    assert {one["state"] for one in shown.values()} <= {"stored"}
    assert {step["state"] for one in shown.values() for step in one["steps"]} <= {"stored"}
    assert set(server.stored) == set(shown)
    assert set(server.made.values()) <= {1}
    for one in shown.values():
        versions = server.stored[one["id"]]
        assert len(versions) == one["version"]
        assert len(versions) == sum(step["kind"] != "attachment" for step in one["steps"])
        assert versions[-1] == json.loads(json.dumps(one["body"]))
    assert server.files == files


async def _do(act: str, phone: Device, ids: list[str], files: Files, rng: random.Random) -> None:
    if act.startswith("put"):
        urgent = act != "put"
        ids.append(phone.outbox.put(report(), urgent=urgent, tiny_first=act == "put tiny"))
    elif act == "correct" and ids:
        phone.outbox.correct(rng.choice(ids), {"figures": {"affected": rng.randint(0, 3)}})
    elif act == "attach" and ids:
        slot = (rng.choice(ids), f"{len(files)}.jpg")
        files[slot] = rng.randbytes(rng.randint(1, 80_000))
        phone.outbox.attach(*slot, files[slot], media_type="image/jpeg")
    elif act == "step":
        await phone.courier.step()
    elif act == "wake":
        await phone.wake()
    elif act == "wait":
        phone.clock.advance(timedelta(seconds=rng.randint(1, 900)))
    elif act == "late":
        await phone.link.deliver_late()


def test_urgent_reports_are_stored_before_all_that_were_put_earlier() -> None:
    server = Server(random.Random(0))
    phone = device(server, clock=ManualClock(NOON), session="t")
    routine = [phone.outbox.put(report()) for _ in range(3)]
    urgent = [phone.outbox.put(report(), urgent=True) for _ in range(2)]

    asyncio.run(phone.deliver())

    assert server.order == urgent + routine
