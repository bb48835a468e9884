"""How the page `/x/privacy` looks: the words, the sections, the headers. No question to the store, no decision.

Whatever is held is text that strangers may have written: the template escapes all of it, and no script runs.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from collector.endpoints.opt_out import STYLE
from collector.privacy.own_view import OwnView
from collector.privacy.page_tokens import Sitting
from collector.privacy.page_words import COLUMNS, read_page_words
from collector.privacy.words import LANGUAGES
from collector.purposes import NOT_UNDER_GPC, PURPOSE_BY_LETTER, REFUSABLE, Purpose
from collector.sites.book import Site

if TYPE_CHECKING:
    from jinja2 import Template

_STYLE = STYLE + (Path(__file__).parent / "templates" / "privacy.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_TIMES = frozenset(("time", "at", "since", "sent_at", "copied_at"))
_NOBODYS_SITE = Site(site_id="", space_id="")


@dataclass(slots=True)
class Page:
    """One answer. `path`: last part of the page's own; `traits`: those that may be put right, name and words;
    `can_send`: whether a confirmation link may be asked for."""

    language: str
    path: str
    is_framed: bool = False
    site: Site = _NOBODYS_SITE
    traits: tuple[tuple[str, str], ...] = ()
    can_send: bool = False
    link_hours: float = 0.0
    asks_to_erase: bool = False
    _notice: str = ""
    _is_bad: bool = False
    _status: int = 200
    _headers: dict[str, str] = field(default_factory=dict)

    def complain(self, label: str) -> None:
        """Say above all else that something is not done."""
        self._notice, self._is_bad = label, True

    def tell(self, label: str, **filled: Any) -> None:
        """Say above all else what is done. `filled`: purpose and is_refused, or request and due_at_ms."""
        words = read_page_words(self.language)
        said = dict(filled)
        if "purpose" in filled:
            state = words.labels["refused_here" if filled["is_refused"] else "allowed"]
            said = {"purpose": words.purposes[filled["purpose"]].title, "state": state}
        if "due_at_ms" in filled:
            said["day"] = datetime.fromtimestamp(filled["due_at_ms"] / 1000, UTC).strftime("%Y-%m-%d")
        self._notice, self._is_bad = words.labels[label].format(hours=_shorten(self.link_hours), **said), False

    def fail(self, label: str, status: int, retry_after_s: int = 0) -> Response:
        """Return a page that says why there is none, and nothing else."""
        self.complain(label)
        self._status = status
        if retry_after_s:
            self._headers = {"Retry-After": str(retry_after_s)}
        return self._answer()

    def offer_link(self, token: str) -> Response:
        """Return the page of a confirmation link: a button, since programs follow every link in a message."""
        return self._answer(link_token=token)

    def hand_over(self, archive: bytes) -> Response:
        """Return the zip of what somebody takes along."""
        headers = {**_make_headers(self.site), "Content-Disposition": 'attachment; filename="my-data.zip"'}
        return Response(archive, media_type="application/zip", headers=headers)

    def render(self, sitting: Sitting, token: str, view: OwnView | None) -> Response:
        """Return the page. `view`: None where nothing is shown."""
        return self._answer(sitting=sitting, token=token, view=view)

    def _answer(self, **shown: Any) -> Response:
        words, page_words = LANGUAGES[self.language], read_page_words(self.language)
        sitting, view = shown.get("sitting"), shown.get("view")
        notice = page_words.labels.get(self._notice, self._notice)
        text = _load_template().render(
            language=self.language,
            words=words,
            page=page_words,
            labels=page_words.labels,
            site=self.site,
            action=f"{self.path}?s={self.site.site_id}&language={self.language}",
            here=f"{self.path}?s={self.site.site_id}",
            notice=notice,
            is_bad=self._is_bad,
            is_framed=self.is_framed,
            sitting=sitting,
            token=shown.get("token", ""),
            link_token=shown.get("link_token", ""),
            view=view,
            columns=COLUMNS,
            show=_Shower(self.language),
            switches=[] if sitting is None else _list_switches(sitting, view),
            traits=self.traits if view is not None and view.whose == "person" else (),
            can_send=self.can_send,
            kinds=[kind.name for kind in self.site.kinds],
            asks_to_erase=self.asks_to_erase,
            # A browser keeps no cookie that is set in a frame of no origin: that needs a window of its own.
            window=Markup(' target="_blank"') if self.is_framed else "",
            style=Markup(_STYLE),  # noqa: S704  our own file
        )
        return HTMLResponse(text, self._status, headers={**_make_headers(self.site), **self._headers})


class _Shower:
    """Says a value of a column as people read it."""

    def __init__(self, language: str) -> None:
        self._words = read_page_words(language)
        self._kinds = LANGUAGES[language].kinds

    def __call__(self, column: str, value: Any) -> str:
        if column in _TIMES and isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        if column in ("a_kind", "b_kind"):
            return self._kinds.get(str(value), str(value))
        return self._words.say(column, value)


def _list_switches(sitting: Sitting, view: OwnView | None) -> list[tuple[str, Purpose, str, str]]:
    """Return letter and name of each purpose, the label of how it stands, and what can be done: refuse, allow or ""."""
    refused_by_person = frozenset() if view is None else view.refused
    is_person = view is not None and view.whose == "person"
    told = set(sitting.told.split(","))
    found = []
    for letter, purpose in PURPOSE_BY_LETTER.items():
        if letter not in REFUSABLE:
            continue
        if letter in sitting.refused or purpose in refused_by_person:
            found.append((letter, purpose, "refused_here", "allow"))
        elif sitting.is_signalled and purpose in NOT_UNDER_GPC:
            found.append((letter, purpose, "refused_signal", ""))
        elif purpose in told:
            found.append((letter, purpose, "allowed", "refuse"))
        else:
            found.append((letter, purpose, "not_asked", "refuse" if is_person else ""))
    return found


def _make_headers(site: Site) -> dict[str, str]:
    # Without `allow-same-origin` the document is of no origin: the site around it cannot look into it.
    sandbox = "allow-forms allow-downloads allow-popups allow-popups-to-escape-sandbox"
    ancestors = " ".join(("'self'", *site.origins))
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"sandbox {sandbox}; default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
            f"frame-ancestors {ancestors}; base-uri 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
        "Vary": "Accept-Language, Cookie, Sec-Fetch-Dest",
    }


def _shorten(hours: float) -> str:
    return f"{hours:g}"


@cache
def _load_template() -> Template:
    """Load the page when it is first asked for."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("collector.endpoints"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("privacy.html")
