from pathlib import Path

import pytest
from fastapi import FastAPI

from app.core import problems
from app.core.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    default = "unset" if field.default is None else f"`{field.default}`"

    assert f"| `BEACON_{name.upper()}` | {default} | {field.description} |" in (DOCS / "running.md").read_text()


def test_every_problem_has_one_code_and_words_in_both_languages() -> None:
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)]

    assert len({kind.code for kind in kinds}) == len(kinds) > 30
    for kind in kinds:
        assert kind.en.endswith((".", "}")), kind.code
        assert any("\u4e00" <= character <= "\u9fff" for character in kind.zh), kind.code


def test_every_problem_is_listed_in_the_docs() -> None:
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.Kind)]
    text = (DOCS / "api.md").read_text()

    assert [kind.code for kind in kinds if f"| `{kind.code}` | {kind.status} |" not in text] == []


@pytest.mark.anyio
async def test_every_route_says_what_it_does(app: FastAPI) -> None:
    said = {
        f"{method} {path}": operation.get("description")
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }

    assert [where for where, words in said.items() if not words] == []
    assert len(said) >= 25
