"""The result in words and figures."""

from collections.abc import Iterator
from statistics import median

from benchmarks.scenarios import SCENARIOS, Measured, Scenario

BUSY = 0.85  # from this share of a core on, the load generator itself may be the limit

_SHOWN_ERRORS = 5


def ratio(measured: dict[str, Measured], scenario: Scenario) -> list[float]:
    """The ratios, round by round; empty when either side was not measured."""
    mine, other = measured.get(scenario.name), measured.get(scenario.compared_to or "")
    return mine.ratios_to(other) if mine and other else []


def render(measured: dict[str, Measured], facts: dict[str, str]) -> str:
    """The table, what was met of the targets, and what it was measured on."""
    return "\n".join([*_rows(measured), "", *_targets(measured), *_levels(measured), *_notes(measured), *_facts(facts)])


def errors(measured: dict[str, Measured]) -> list[str]:
    """One line for each kind of error, the most frequent first; empty when there was none."""
    lines = []
    for name, one in measured.items():
        kinds = one.errors.most_common()
        lines += [f"{name}: {count} x {kind}" for kind, count in kinds[:_SHOWN_ERRORS]]
        if len(kinds) > _SHOWN_ERRORS:
            lines.append(f"{name}: and {len(kinds) - _SHOWN_ERRORS} other kinds of error")
    return lines


def _rows(measured: dict[str, Measured]) -> Iterator[str]:
    yield f"{'':<20} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'ratio':>7}  {'lowest-highest of':<30} {'client':>6}"
    for name, one in measured.items():
        found = ratio(measured, one.scenario)
        of = f"{min(found):.2f}-{max(found):.2f}  {one.scenario.compared_to}" if found else ""
        share = f"{median(found):.2f}" if found else "-"
        yield (
            f"{name:<20} {one.middle('rps'):>9,.0f} {one.middle('p50_ms'):>8.2f} {one.middle('p99_ms'):>8.2f} "
            f"{share:>7}  {of:<30} {one.middle('client_cpu'):>6.0%}"
        )


def _targets(measured: dict[str, Measured]) -> Iterator[str]:
    for scenario in SCENARIOS:
        if scenario.target is None:
            continue
        found = ratio(measured, scenario)
        verdict = "not measured"
        if found:
            verdict = f"{'met' if median(found) >= scenario.target else 'NOT met'} ({median(found):.2f})"
        yield f"target: {scenario.name} >= {scenario.target} of {scenario.compared_to}: {verdict}"


def _levels(measured: dict[str, Measured]) -> Iterator[str]:
    for name, one in measured.items():
        if total := one.levels.total():
            shares = ", ".join(f"{level} {count / total:.1%}" for level, count in one.levels.most_common())
            yield f"{name}: levels answered: {shares}"


def _notes(measured: dict[str, Measured]) -> Iterator[str]:
    for name, one in measured.items():
        if one.middle("client_cpu") > BUSY:
            yield f"note: {name}: the load generator was busy; the server may be faster than shown"


def _facts(facts: dict[str, str]) -> Iterator[str]:
    yield "; ".join(f"{name} {value}" for name, value in facts.items())
