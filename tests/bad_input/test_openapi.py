"""The published OpenAPI description is true: requests made out of it, right ones and wrong ones, answered by a real web
process with the status, type, headers and form that it says; and never a 500."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from collector.config import Config
from collector.endpoints.description import describe
from tests.bad_input.web_process import KEY, WebProcess, running_web
from tests.chaos.outcome import chaos_case
from tests.edge_examples import SITE, make_body, make_event

# With `make chaos`: half a thousand requests to a real process take longer than a change should wait for.
pytestmark = [pytest.mark.slow, pytest.mark.long]

EXAMPLES = int(os.environ.get("TAGSTITCH_TEST_EXAMPLES", "8"))
CONFIG = Config(inspect=True)
DESCRIPTION = describe(CONFIG)
OPERATIONS = {
    f"{found.ok().method.upper()} {found.ok().path}": found.ok()
    for found in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
WITHOUT_STORE = [check for check in CHECKS if check is not not_a_server_error]
"""For what asks the store, which is away here: 503 is the right answer, 500 is none."""
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
TAKERS = [
    f"{method.upper()} {path}"
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
    if "requestBody" in operation or any(parameter["in"] == "query" for parameter in operation.get("parameters", ()))
]
"""Operations that take a body or a query, which may be wrong."""
CASES = [*((name, RIGHT) for name in OPERATIONS), *((name, WRONG) for name in TAKERS)]


@pytest.fixture(scope="module")
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    """The process that answers."""
    failed = request.session.testsfailed
    with chaos_case("requests made from the OpenAPI description", "right and wrong ones, by schemathesis") as outcome:
        with running_web(tmp_path_factory.mktemp("openapi"), [SITE], "inspect=true") as process:
            yield process
            assert process.process.poll() is None
        assert "Traceback" not in process.log
        outcome.rounds = EXAMPLES * len(CASES)
        outcome.found = f"{len(OPERATIONS)} operations, no 500, every answer as described"
        assert request.session.testsfailed == failed, "an answer is not as described"


@pytest.fixture(scope="module")
def base(web: WebProcess) -> str:
    """Where it is."""
    return f"http://127.0.0.1:{web.port}"


def choose_checks(name: str) -> list[Any]:
    """Return what an operation's answers are held against."""
    paths = ("audiences", "data-requests", "identity/", "links/revocations", "customers", "visitors", "stream")
    asks_store = [*(f" /v1/{path}" for path in paths), " /x/me"]
    return WITHOUT_STORE if any(path in name for path in asks_store) else CHECKS


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, RIGHT) for name in OPERATIONS), *((name, WRONG) for name in TAKERS)]
)
def test_every_operation_answers_as_described(web: WebProcess, base: str, name: str, mode: GenerationMode) -> None:
    """Requests that keep to the description and such that do not, with a key and without one."""
    operation = OPERATIONS[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def ask(case: Case, has_key: bool) -> None:
        headers = {"Authorization": f"Bearer {KEY}"} if has_key else {}
        answer = case.call(base_url=base, headers=headers, allow_redirects=False, timeout=30)
        case.validate_response(answer, checks=choose_checks(name))
        assert answer.status_code != 500

    ask()


def test_the_answers_are_not_all_refusals(web: WebProcess, base: str) -> None:
    """Every good status comes too, and keeps to the description."""
    now_ms = time.time_ns() // 1_000_000
    key, page = {"Authorization": f"Bearer {KEY}"}, {"Origin": SITE.origins[0]}
    event = make_event(t=now_ms, i=str(uuid.uuid4()))
    beacon = make_body(event, st=now_ms, x=None)
    call = {"type": "track", "event": "order", "anonymousId": str(uuid.uuid4()), "context": {"siteId": "shop"}}
    for name, status, headers, body in (
        ("POST /x/b", 204, page, beacon),
        ("POST /x/b", 204, page, {**beacon, "c": ""}),
        ("POST /x/b", 403, {"Origin": "https://evil.example"}, beacon),
        ("POST /x/b", 400, page, {**beacon, "v": 9}),
        ("POST /x/b", 415, {**page, "Content-Encoding": "gzip"}, beacon),
        ("OPTIONS /x/b", 204, page, None),
        ("OPTIONS /x/b", 403, {"Origin": "https://evil.example"}, None),
        ("POST /v1/track", 200, key, call),
        ("POST /v1/track", 401, {}, call),
        ("POST /v1/batch", 200, key, {"batch": [call, {"type": "nothing"}]}),
        ("POST /v1/links", 200, key, {"reference": "4711", "url": f"{SITE.origins[0]}/spring", "campaign": "spring"}),
        ("POST /v1/links", 200, key, {"recipients": [{"reference": "4711"}, {"reference": "guest"}]}),
        ("POST /v1/links", 400, key, {"reference": "4711", "url": "https://evil.example/"}),
        ("POST /v1/links", 401, {}, {"reference": "4711"}),
        ("POST /v1/identity/merge", 401, {}, {"a": "customer=1", "b": "customer=2"}),
        ("POST /v1/identity/merge", 400, key, {"a": "customer=1"}),
        ("GET /v1/identity/log", 503, key, None),
        ("POST /x/inspect", 200, page, beacon),
        ("GET /v1/inspect/good", 200, {}, None),
        ("GET /v1/inspect/all", 403, {"Via": "1.1 proxy"}, None),
        ("POST /v1/inspect/reset", 200, {}, None),
        ("GET /v1/sites", 200, key, None),
        ("GET /v1/sites", 401, {}, None),
        ("GET /metrics", 200, {}, None),
        ("GET /metrics", 403, {"X-Forwarded-For": "203.0.113.9"}, None),
        ("GET /x/t.js", 304, {"If-None-Match": "*"}, None),
        ("GET /x/opt-out", 200, {"Accept-Language": "de"}, None),
        ("POST /x/opt-out", 303, {"Sec-Fetch-Site": "same-origin"}, {"answer": "object"}),
        ("POST /x/opt-out", 403, {"Sec-Fetch-Site": "cross-site"}, {"answer": "object"}),
    ):
        operation = OPERATIONS[name]
        form = "application/x-www-form-urlencoded" if "opt-out" in name else "application/json"
        case = operation.Case(body=body, media_type=form) if body else operation.Case()
        answer = case.call(base_url=base, headers=headers, allow_redirects=False, timeout=30)
        case.validate_response(answer, checks=choose_checks(name))
        assert answer.status_code == status, (name, answer.content)


def test_the_description_is_the_published_one(base: str) -> None:
    """What is tested here is what stands under /openapi.json."""
    published = httpx.get(f"{base}/openapi.json").json()
    assert set(published["paths"]) == set(DESCRIPTION["paths"])
    assert published["components"]["schemas"].keys() == DESCRIPTION["components"]["schemas"].keys()


def test_what_is_not_served_is_not_described() -> None:
    """The dry run's paths are there only where it is switched on."""
    assert not any("inspect" in path for path in describe(Config())["paths"])


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT", "TRACE"])
@pytest.mark.parametrize("path", [path for path in DESCRIPTION["paths"] if "{" not in path])
def test_no_path_knows_a_method_that_it_does_not_name(base: str, path: str, method: str) -> None:
    """405, and what would be right."""
    answer = httpx.request(method, base + path)
    assert answer.status_code == 405
    allowed = {name.strip() for name in answer.headers["allow"].split(",")}
    assert {name.upper() for name in DESCRIPTION["paths"][path]} <= allowed
