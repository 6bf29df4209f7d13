"""How many nodes around a report had reported its family: pure."""

from collections import defaultdict, deque
from datetime import datetime, timedelta

from app.evaluation.told import Told
from app.hazards.policy import Policy

# Reports that came this close together may have been stored in one transaction, or in another order.
MOMENT = timedelta(seconds=2)


class Neighbours:
    """When each node of a town reported a family lately."""

    def __init__(self, policy: Policy) -> None:
        self._window = timedelta(hours=policy.triage.neighbour_window_hours)
        self._heard: defaultdict[tuple[str, str], defaultdict[str, deque[datetime]]] = defaultdict(
            lambda: defaultdict(deque)
        )

    def hear(self, one: Told) -> None:
        """The next report, in the order received."""
        if one.seen.town is not None:
            times = self._heard[one.seen.town, one.seen.family][one.seen.sighting.node]
            times.append(one.received_at)
            while times[0] < one.received_at - self._window - 2 * MOMENT:
                times.popleft()

    def of(self, one: Told) -> tuple[int, int, int]:
        """How many others had surely been stored, had been received by then, and may have been stored."""
        if one.seen.town is None:
            return 0, 0, 0
        sure = received = maybe = 0
        at, earliest = one.received_at, one.received_at - self._window
        for node, times in self._heard[one.seen.town, one.seen.family].items():
            if node == one.seen.sighting.node or times[-1] < earliest:
                continue
            maybe += 1
            # Few are later than a moment before: each node's times are in order.
            by_then = next((when for when in reversed(times) if when <= at), None)
            before = next((when for when in reversed(times) if when < at - MOMENT), None)
            received += by_then is not None and by_then >= earliest
            sure += before is not None and before >= earliest
        return sure, received, maybe
