import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.core import problems
from app.core.database import Contention, DatabaseAway
from app.core.methods import allowed_at
from app.core.problems import Kind

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
RETRY_SECONDS = 5
MOST_ERRORS = 50

FieldError = dict[str, str]


class Problem(HTTPException):
    """What a rule refuses with. Raised where the rule is, rendered once, here (RFC 9457)."""

    def __init__(
        self,
        kind: Kind,
        *,
        pointer: str | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
        **words: object,
    ) -> None:
        super().__init__(kind.status, kind.code, headers)
        self.kind = kind
        self.words = words
        self.pointer = pointer
        self.errors: list[FieldError] = []
        self.extra = extra or {}

    def body(self, language: str = "en") -> dict[str, Any]:
        """The problem as JSON, its sentence in `language` (`zh` or `en`)."""
        template = self.kind.zh if language == "zh" else self.kind.en
        sentence = template.format(**self.words)
        errors = self.errors
        if self.pointer is not None:
            errors = [{"pointer": self.pointer, "code": self.kind.code, "message": sentence}]
        return {
            "type": f"urn:beacon:problem:{self.kind.code}",
            "title": HTTPStatus(self.kind.status).phrase,
            "status": self.kind.status,
            "code": self.kind.code,
            "detail": sentence,
            **({"errors": errors} if errors else {}),
            **self.extra,
        }


def route_of(scope: Mapping[str, Any]) -> str:
    """The template of the route that is asked for, for logs and metrics: a path may hold an id, or what was typed."""
    return getattr(scope.get("route"), "path", "unmatched")


def away() -> Problem:
    """The database cannot be reached: 503, and when to come back."""
    return Problem(problems.DATABASE_AWAY, headers={"Retry-After": str(RETRY_SECONDS)})


def language_of(request: Request) -> str:
    """`zh` when the client prefers Chinese, else `en`."""
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def render(problem: Problem, request: Request) -> JSONResponse:
    """The one place where a problem becomes an answer."""
    return JSONResponse(
        problem.body(language_of(request)), problem.kind.status, problem.headers, media_type=PROBLEM_JSON
    )


# What pydantic says, in Chinese; anything else falls back to its own English sentence.
_CHINESE = {
    "missing": "缺少必填项",
    "extra_forbidden": "不允许的字段",
    "string_too_long": "文字过长",
    "string_too_short": "文字过短",
    "string_type": "应为文字",
    "string_pattern_mismatch": "格式不符",
    "greater_than_equal": "数值过小",
    "less_than_equal": "数值过大",
    "int_type": "应为整数",
    "int_from_float": "应为整数",
    "int_parsing": "应为整数",
    "float_type": "应为数值",
    "finite_number": "应为有限数值",
    "enum": "不在允许的取值之内",
    "literal_error": "不在允许的取值之内",
    "uuid_parsing": "应为 UUID",
    "uuid_version": "应为 UUIDv7",
    "timezone_aware": "时间须带时区",
    "datetime_parsing": "应为 RFC 3339 时间",
    "datetime_from_date_parsing": "应为 RFC 3339 时间",
    "too_long": "条目过多",
    "too_short": "条目过少",
}


def field_errors(errors: list[Any], language: str, *, root: str = "body") -> list[FieldError]:
    """Pydantic's errors as (pointer, code, message), without the input and without exception text."""
    found = []
    for error in errors[:MOST_ERRORS]:
        where = [str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"]]
        pointer = "/" + "/".join(where[1:]) if where and where[0] == root else "/" + "/".join(where)
        code = error["type"]
        # A validator's own words may carry the input: only its code is shown.
        message = "The value is not allowed" if code in ("value_error", "assertion_error") else error["msg"]
        if language == "zh":
            message = _CHINESE.get(code, message)
        found.append({"pointer": pointer[:200], "code": code, "message": message})
    return found


def from_validation(errors: list[Any], language: str) -> Problem:
    """The problem for what FastAPI or pydantic refused."""
    if any(error["type"] == "json_invalid" for error in errors):
        return Problem(problems.JSON_INVALID)
    if errors and errors[0]["loc"] and errors[0]["loc"][0] in ("query", "header", "path"):
        if errors[0]["loc"][0] == "path":
            return Problem(problems.NOT_FOUND)
        problem = Problem(problems.QUERY_INVALID)
    else:
        problem = Problem(problems.INVALID, count=len(errors))
    problem.errors = field_errors(errors, language)
    return problem


def _http_problem(error: HTTPException) -> Problem:
    kinds = {
        404: problems.NOT_FOUND,
        405: problems.METHOD_NOT_ALLOWED,
        400: problems.JSON_INVALID,
    }
    kind = kinds.get(error.status_code, problems.INTERNAL)
    return Problem(kind, headers=dict(error.headers) if error.headers else None)


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """The answer (500) to a failure that no rule foresaw, and the one line that is logged of it."""
    # The exception's text may quote what a person typed: only its type and place are logged.
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    log.error("failure", route=route_of(request.scope), error=type(error).__name__, place=place)
    return render(Problem(problems.INTERNAL), request)


def install(app: FastAPI) -> None:
    """Answer every failure as `application/problem+json`, never with exception text."""

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        problem = error if isinstance(error, Problem) else _http_problem(error)
        if problem.kind is problems.METHOD_NOT_ALLOWED:
            # The framework names the methods of one of the routes at this path.
            problem.headers = {"Allow": ", ".join(allowed_at(request.app.routes, request.scope))}
        return render(problem, request)

    async def on_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return render(from_validation(list(error.errors()), language_of(request)), request)

    async def on_away(request: Request, error: Exception) -> JSONResponse:
        log.warning("database away", route=route_of(request.scope))
        return render(away(), request)

    # Uvicorn would print the traceback, and with it what was typed.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "Exception in ASGI" not in record.getMessage())
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(DatabaseAway, on_away)
    app.add_exception_handler(Contention, on_away)
    app.add_exception_handler(Exception, on_failure)
