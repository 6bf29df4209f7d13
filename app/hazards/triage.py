"""How grave a report is: pure, from the report, the policy and what its neighbours reported. Rules only raise."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.hazards.cap import RISING, Certainty, Level, Severity, Urgency
from app.hazards.catalogue import Hazard
from app.hazards.policy import Policy
from app.hazards.rules import TRIAD, Rule

_ZH: Mapping[str, str] = {
    "Immediate": "立即",
    "Expected": "预期",
    "Future": "将来",
    "Past": "已过",
    "Extreme": "特别严重",
    "Severe": "严重",
    "Moderate": "中等",
    "Minor": "轻微",
    "Observed": "已发生",
    "Likely": "很可能",
    "Possible": "可能",
    "Unlikely": "不太可能",
    "Unknown": "不明",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What triage looks at. `neighbours`: other nodes of the town that reported the family within the window."""

    hazard: Hazard
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    figures: Mapping[str, int | float]
    kind: str
    neighbours: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in words."""

    rule: str
    text: str
    text_zh: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The level, and what led to it: the triad first, then every rule that raised or held it."""

    level: Level
    reasons: tuple[Reason, ...]


def triage(policy: Policy, situation: Situation) -> Decision:
    """The level of a report: the matrix's, raised by whichever rules apply."""
    triad = situation.urgency, situation.severity, situation.certainty
    level = policy.triage.cells[triad]
    reasons = [
        Reason(
            TRIAD,
            f"{triad[0]}, {triad[1]}, {triad[2]}: {level.en}",
            f"紧急程度{_ZH[triad[0]]}、严重程度{_ZH[triad[1]]}、确定性{_ZH[triad[2]]}：{level.zh}",
        )
    ]
    for rule in policy.triage.by_hazard[situation.hazard.code]:
        value = _value(rule, situation)
        if value is None:
            continue
        to = _target(rule, level)
        # A floor at the level held it; one below, or a step that is capped, decided nothing.
        if to.rank > level.rank or (rule.level is not None and to is level):
            level = to
            reasons.append(_reason(rule, situation, value, level))
    return Decision(level, tuple(reasons))


def _value(rule: Rule, situation: Situation) -> int | float | None:
    """What the rule's figures add up to (0 where it has none); None when a condition does not hold."""
    if rule.kind is not None and rule.kind != situation.kind:
        return None
    if rule.neighbours_at_least is not None and situation.neighbours < rule.neighbours_at_least:
        return None
    if rule.at_least is None:
        return 0
    value = sum(situation.figures.get(name, 0) for name in rule.figures)
    return value if value >= rule.at_least else None


def _target(rule: Rule, level: Level) -> Level:
    """Where the rule would have the level."""
    if rule.level is not None:
        return rule.level
    assert rule.raise_by is not None
    return RISING[min(level.rank + rule.raise_by, rule.up_to.rank)]


def _reason(rule: Rule, situation: Situation, value: int | float, level: Level) -> Reason:
    words = {
        "value": f"{value:.15g}" if isinstance(value, float) else value,
        "limit": f"{rule.at_least or 0:.15g}",
        "neighbours": situation.neighbours,
    }
    return Reason(
        rule.name,
        f"{rule.en.format(**words, hazard=situation.hazard.en)}: {level.en}",
        f"{rule.zh.format(**words, hazard=situation.hazard.zh)}：{level.zh}",
    )
