"""What a page sent and what came back, in a browser that playwright drives."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from collector.doctor.look import Fetched, SentBeacon, cut_query

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Response


class Traffic:
    """Requests, answers and errors of one page. Filled while playwright waits for something."""

    def __init__(self, page: Page) -> None:
        self.requests: list[Request] = []
        self.answers: dict[Request, Response] = {}
        self.failures: dict[Request, str] = {}
        self.ended: dict[Request, float] = {}
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request))  # playwright sets attributes on it
        page.on("response", lambda answer: self.answers.__setitem__(answer.request, answer))
        page.on("requestfailed", lambda request: self.failures.__setitem__(request, request.failure or "failed"))
        page.on("requestfinished", lambda request: self.ended.__setitem__(request, time.monotonic()))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def answer_to(self, url: str) -> Response | None:
        """Return the last answer with a document of this address."""
        address = url.partition("#")[0]
        found = [one for one in self.answers.values() if one.request.is_navigation_request() and one.url == address]
        return found[-1] if found else None

    def beacons(self) -> list[tuple[Request, dict[str, Any]]]:
        """What the tag has sent so far."""
        found = []
        for request in self.requests:
            if request.method == "POST":
                with contextlib.suppress(ValueError):
                    body = json.loads(request.post_data or "")
                    if isinstance(body, dict) and {"v", "s", "e", "st"} <= body.keys() and isinstance(body["e"], list):
                        found.append((request, body))
        return found

    def has_answers(self) -> bool:
        """Whether beacons were sent, and each has its answer or failed."""
        sent = self.beacons()
        return bool(sent) and all(request in self.answers or request in self.failures for request, _ in sent)

    def cookie_names(self) -> set[str]:
        """Return the names of the cookies that answers to beacons have set or taken away."""
        answers = [self.answers[request] for request, _ in self.beacons() if request in self.answers]
        lines = [line for answer in answers for line in answer.all_headers().get("set-cookie", "").splitlines()]
        return {line.partition("=")[0].strip() for line in lines}

    def describe(self, request: Request | None) -> Fetched:
        """Return how a request went."""
        if request is None:
            return Fetched(failure="was not asked for")
        relation = request.all_headers().get("sec-fetch-site", "")
        answer = self.answers.get(request)
        if answer is None:
            return Fetched(failure=self.failures.get(request, "no answer in time"), relation=relation)
        return Fetched(answer.status, answer.headers.get("content-type", ""), self.failures.get(request, ""), relation)

    def describe_beacon(self, request: Request, body: dict[str, Any], was_asked_for: bool) -> SentBeacon:
        """Return how a beacon went, and whether a collector has answered it."""
        from playwright.sync_api import Error

        address = cut_query(request.url)
        answer = self.answers.get(request)
        if answer is None:
            failure = self.failures.get(request, "no answer in time")
            return SentBeacon(address, body, was_asked_for, failure=failure)
        rejected = answer.headers.get("x-tagstitch-rejected", "")
        is_ours = bool(rejected) or answer.status == 204
        if not is_ours:
            with contextlib.suppress(Error, ValueError):  # a body that may not be read, or is none of ours
                text = answer.json()
                is_ours = isinstance(text, dict) and not {"d", "x", "retry"}.isdisjoint(text)
                rejected = str(text.get("error", "")) if is_ours else ""
        sets_cookie = "set-cookie" in answer.all_headers()
        return SentBeacon(address, body, was_asked_for, answer.status, rejected, is_ours, sets_cookie)
