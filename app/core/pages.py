"""The pages a browser opens: where one is, and the contract to be read. All of it comes from this server."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from app.core import problems
from app.core.errors import Problem

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY.format(styles=""),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
# Both readers of the contract write styles, though no scripts, into the page.
READER_HEADERS = HEADERS | {"Content-Security-Policy": _POLICY.format(styles=" 'unsafe-inline'")}

_HEAD = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/{style}">
</head>
"""
_HOME = (
    _HEAD.format(lang="zh", title="Beacon", style="page.css")
    + """<body>
<main>
<h1>Beacon</h1>
<p>村、乡镇、市三级灾情报告与预警服务。各村和乡镇上报危及生命、健康、住房或基本服务的情况；紧急报告立即形成警报，由市值班室确认和处置。</p>
<p lang="en">Incident reporting and early warning of three tiers. Villages and towns report what threatens life, health,
homes or an essential service; what is urgent becomes an alert at once, and the city acknowledges it and acts.</p>
<ul>
<li><a href="/docs">接口文档，可试用 <span lang="en">The API, to be tried</span></a></li>
<li><a href="/redoc">接口文档，便于阅读 <span lang="en">The API, to be read</span></a></li>
<li><a href="/openapi.json">OpenAPI 3.1</a></li>
<li><a href="/healthz">服务状态 <span lang="en">Whether the service answers</span></a></li>
</ul>
</main>
</body>
</html>
"""
)
_SWAGGER = (
    _HEAD.format(lang="en", title="Beacon: API", style="swagger-ui.css")
    + """<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/docs.js"></script>
</body>
</html>
"""
)
_REDOC = (
    _HEAD.format(lang="en", title="Beacon: API", style="page.css")
    + """<body class="reader">
<div id="redoc"></div>
<script src="/docs/assets/redoc.standalone.js"></script>
<script src="/docs/assets/redoc.js"></script>
</body>
</html>
"""
)
_OWN = {
    "docs.js": """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
""",
    "redoc.js": """Redoc.init("/openapi.json", { hideLogo: true }, document.getElementById("redoc"));
""",
    "page.css": """body { margin: 0; font: 1.1rem/1.6 system-ui, sans-serif; color: #222; background: #fff; }
main { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
""",
}
_INSTALLED = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png"})
_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "png": "image/png"}


class Home(BaseModel):
    """What this server is, and where to go, for machines."""

    name: str = "Beacon"
    text: str = "Incident reporting and early warning of three tiers: village, town, city."
    text_zh: str = "村、乡镇、市三级灾情报告与预警服务。"
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    health: str = "/healthz"


@router.get("/", response_model=Home)
async def get_home(accept: Annotated[str, Header(max_length=2000)] = "") -> Response:
    """A page for a browser, JSON for everything else."""
    if "text/html" in accept.lower():
        return HTMLResponse(_HOME, headers=HEADERS | {"Vary": "Accept"})
    return Response(Home().model_dump_json(), headers={"Vary": "Accept"}, media_type="application/json")


@router.get("/docs", response_class=HTMLResponse)
async def get_docs() -> HTMLResponse:
    """The contract, to be tried."""
    return HTMLResponse(_SWAGGER, headers=READER_HEADERS)


@router.get("/redoc", response_class=HTMLResponse)
async def get_redoc() -> HTMLResponse:
    """The contract, to be read."""
    return HTMLResponse(_REDOC, headers=READER_HEADERS)


@router.get("/docs/assets/{name}", response_class=Response)
async def get_asset(request: Request, name: str) -> Response:
    """A script, style or picture of these pages."""
    if name not in _OWN and name not in _INSTALLED:
        raise Problem(problems.NOT_FOUND)
    data, etag = _asset(name)
    headers = {"Cache-Control": "public, no-cache", "ETag": etag, **HEADERS}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


@cache
def _asset(name: str) -> tuple[bytes, str]:
    data = _OWN[name].encode() if name in _OWN else (files("fastapi_offline") / "static" / name).read_bytes()
    # The one picture that this script would fetch from elsewhere.
    data = data.replace(b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"/docs/assets/favicon.png")
    return data, f'"{sha256(data).hexdigest()[:32]}"'
