"""The small pages of tagged links, in the languages that they speak: a link that is broken, over or not filled in, and
consent to marketing taken back or given. Nothing of a request stands on them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from html import escape

from collector.endpoints.opt_out import STYLE
from collector.endpoints.opt_out_text import choose_language
from collector.endpoints.plain import Headers

_STYLE = STYLE + "form { display: flex; flex-wrap: wrap; gap: .75rem; }\n"
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
BASE: Headers = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"x-content-type-options", b"nosniff"),
]
_PAGE: Headers = [
    *BASE,
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'".encode(),
    ),
    (b"vary", b"Accept-Language"),
]


@dataclass(frozen=True)
class PageText:
    """One page: what it says, and the buttons of its form, value and words each, the first one the plainest wish."""

    status: int
    title: str
    text: str
    buttons: tuple[tuple[str, str], ...] = ()


BROKEN, GONE, UNFILLED, LATER = "broken", "gone", "unfilled", "later"
UNSUBSCRIBE, PREFERENCES, WITHDRAWN, GRANTED, REFUSED = "unsubscribe", "preferences", "withdrawn", "granted", "refused"

_ENGLISH = {
    BROKEN: PageText(
        404,
        "This link is not complete",
        "Maybe a part of it was lost on its way. Copy the whole link from the message, or open the site directly.",
    ),
    GONE: PageText(
        410, "This link is no longer valid", "It was made for a limited time. Please open the site directly."
    ),
    UNFILLED: PageText(
        404,
        "This link was not filled in",
        "The message was sent before the link in it was complete. That is the sender's mistake and not yours. Please "
        "open the site directly.",
    ),
    LATER: PageText(
        503, "This cannot be done just now", "Nothing was changed. Please open the link again in a few minutes."
    ),
    UNSUBSCRIBE: PageText(
        200,
        "No more messages?",
        "With this button you take back your consent to marketing messages. Nothing has been changed yet.",
        (("withdraw", "Send me no more messages"),),
    ),
    PREFERENCES: PageText(
        200,
        "Messages to you",
        "Choose whether marketing messages may be sent to you. Nothing has been changed yet.",
        (("withdraw", "Send me no more messages"), ("grant", "Send me messages")),
    ),
    WITHDRAWN: PageText(
        200,
        "No more messages",
        "It is noted that you want no more marketing messages. One that is on its way already may still reach you.",
    ),
    GRANTED: PageText(200, "Messages are welcome", "It is noted that marketing messages may be sent to you."),
    REFUSED: PageText(
        400, "Nothing was changed", "The answer did not come from this page. Open the link again and use its button."
    ),
}
_GERMAN = {
    BROKEN: PageText(
        404,
        "Dieser Link ist nicht vollständig",
        "Vielleicht ging unterwegs ein Teil verloren. Kopieren Sie den ganzen Link aus der Nachricht, oder öffnen Sie "
        "die Website direkt.",
    ),
    GONE: PageText(
        410, "Dieser Link gilt nicht mehr", "Er galt nur für eine begrenzte Zeit. Bitte öffnen Sie die Website direkt."
    ),
    UNFILLED: PageText(
        404,
        "Dieser Link wurde nicht ausgefüllt",
        "Die Nachricht ging hinaus, bevor der Link darin vollständig war. Das ist ein Versehen des Absenders, nicht "
        "Ihres. Bitte öffnen Sie die Website direkt.",
    ),
    LATER: PageText(
        503,
        "Das geht gerade nicht",
        "Es wurde nichts geändert. Bitte öffnen Sie den Link in ein paar Minuten noch einmal.",
    ),
    UNSUBSCRIBE: PageText(
        200,
        "Keine Nachrichten mehr?",
        "Mit diesem Knopf nehmen Sie Ihre Einwilligung in Werbenachrichten zurück. Noch ist nichts geändert.",
        (("withdraw", "Keine Nachrichten mehr senden"),),
    ),
    PREFERENCES: PageText(
        200,
        "Nachrichten an Sie",
        "Wählen Sie, ob Ihnen Werbenachrichten gesendet werden dürfen. Noch ist nichts geändert.",
        (("withdraw", "Keine Nachrichten mehr senden"), ("grant", "Nachrichten senden")),
    ),
    WITHDRAWN: PageText(
        200,
        "Keine Nachrichten mehr",
        "Es ist vermerkt, dass Sie keine Werbenachrichten mehr möchten. Was schon unterwegs ist, kann Sie noch "
        "erreichen.",
    ),
    GRANTED: PageText(
        200, "Nachrichten sind willkommen", "Es ist vermerkt, dass Ihnen Werbenachrichten gesendet werden dürfen."
    ),
    REFUSED: PageText(
        400,
        "Es wurde nichts geändert",
        "Die Antwort kam nicht von dieser Seite. Öffnen Sie den Link noch einmal und benutzen Sie seinen Knopf.",
    ),
}
TEXTS = {"en": _ENGLISH, "de": _GERMAN}


def show_page(name: str, accept_language: bytes = b"") -> tuple[int, Headers, bytes]:
    """Return status, headers and body of a page in the best-liked language. `name`: one of the words above."""
    language = choose_language(accept_language.decode("latin-1"))
    status, body = _render(name, language)
    retry: Headers = [(b"retry-after", b"60")] if status == 503 else []
    return status, [*_PAGE, *retry], body


@cache
def _render(name: str, language: str) -> tuple[int, bytes]:
    page = TEXTS[language][name]
    buttons = "".join(
        f'<button name="answer" value="{escape(value)}"{" class=quiet" if index else ""}>{escape(words)}</button>'
        for index, (value, words) in enumerate(page.buttons)
    )
    form = f'<form method="post">{buttons}</form>' if buttons else ""
    text = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head>"
        f'<body><main><h1>{escape(page.title)}</h1><p role="status">{escape(page.text)}</p>{form}</main></body></html>'
    )
    return page.status, text.encode()
