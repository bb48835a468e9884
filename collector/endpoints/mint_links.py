"""One request for links: how it is written, what its links share, and what becomes of each recipient. No I/O.

What all links share is judged once and refuses the request as a whole; what is one recipient's own refuses that one.
A link leads to a site of the key's space, or to the key's own site where it is bound to one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from collector.errors import LinkError, LinkRefusal
from collector.keyring import Keyring
from collector.links.minting import MAX_DAYS, LinkMaker, Mailing, find_kinds
from collector.links.tagging import Outlet, make_outlet
from collector.links.targets import MAX_TARGET_CHARS, find_target_site
from collector.links.token import LASTING, LinkKind
from collector.sites.book import ApiKey, SiteBook

MAX_RECIPIENTS = 10_000

Reference = Annotated[str, Meta(max_length=512, description="Whose link it is: a value of the kind `kind`.")]
Label = Annotated[str, Meta(max_length=64, pattern="^[^@]*$")]
Url = Annotated[str, Meta(max_length=MAX_TARGET_CHARS, description="Where the link leads; empty: the token alone.")]
Letters = Annotated[
    str,
    Meta(
        pattern="^[sifm]{0,4}$",
        description="What the recipient has consented to: i, m or im. It stands in the link alone, not in the ledger.",
    ),
]


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of a batch. `link`, `url` and `consent`: instead of the request's."""

    reference: Reference
    link: Label | None = None
    url: Url | None = None
    consent: Letters | None = None


class MintRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Links to make: of one reference, or of recipients."""

    reference: Reference = ""
    recipients: Annotated[list[Recipient], Meta(max_length=MAX_RECIPIENTS)] = []
    url: Url = ""
    campaign: Label = ""
    message: Label = ""
    link: Label = ""
    kind: Annotated[str, Meta(max_length=64, description="What the references are: customer, email …")] = "customer"
    type: LinkKind = LinkKind.MESSAGE
    days: Annotated[float, Meta(gt=0, le=MAX_DAYS, description="How long links are recognised.")] | None = None
    consent: Letters = ""
    sent_at: Annotated[datetime, Meta(tz=True, description="When the mail goes out.")] | None = None
    test: bool = False
    sealed: bool = False
    redirect: Annotated[bool, Meta(description="Links by way of the collector, /l/TOKEN.")] = False


class MadeLink(msgspec.Struct, frozen=True):
    """A link. `url`: empty where only a token was asked for."""

    token: str
    url: str


class RefusedLink(msgspec.Struct, frozen=True):
    """No link, and why not."""

    error: LinkRefusal
    field: str
    message: str


class Minted(msgspec.Struct, frozen=True):
    """The answer: links in the order of the recipients. `minting`: id of the record; empty where nothing was made."""

    minting: str
    made: int
    links: list[MadeLink | RefusedLink]


class RequestProblem(Exception):
    """A request that cannot be carried out as a whole."""

    def __init__(self, error: str, field: str, message: str) -> None:
        super().__init__(message)
        self.error, self.field = error, field


class LinkDraft:
    """One request: what its links share, and each of them. Raises RequestProblem where nothing can come of it."""

    def __init__(
        self,
        keyring: Keyring,
        parameter: str,
        book: SiteBook,
        key: ApiKey,
        request: MintRequest,
        base: str,
        now_ms: int,
    ) -> None:
        self._book, self._key, self._request, self._base = book, key, request, base
        self._parameter = parameter
        self._outlets: dict[tuple[str, str], Outlet | LinkError] = {}
        if bool(request.reference) == bool(request.recipients):
            raise RequestProblem("argument", "reference", "Give one reference, or recipients.")
        kinds = find_kinds(book, key.space_id)
        kind = next((kind for kind in kinds if kind.name == request.kind), None)
        if kind is None:
            raise RequestProblem("argument", "kind", "No site of the space knows this kind of identifier.")
        self.mailing = Mailing(
            kind=request.type,
            campaign=request.campaign,
            message=request.message,
            link=request.link,
            identifier_kind=kind,
            space_id=key.space_id,
            days=request.days,
            sent_at_s=int(request.sent_at.timestamp()) if request.sent_at else 0,
            is_test=request.test,
            sealed=request.sealed,
        )
        try:
            self._maker = LinkMaker(keyring, self.mailing, now_ms // 1000)
        except LinkError as error:
            raise RequestProblem(error.refusal, find_field(error), str(error)) from None
        shared = self._find_outlet(request.link, request.url)
        if isinstance(shared, LinkError):
            raise RequestProblem(shared.refusal, "url", str(shared))

    def make_all(self) -> list[MadeLink | RefusedLink]:
        """Make the links in order."""
        request = self._request
        return [self._make(one) for one in request.recipients or [Recipient(request.reference)]]

    def list_names(self) -> tuple[str, ...]:
        """Return the names of the links that were made."""
        return tuple(sorted({link for link, _ in self._outlets if link}))[:100]

    def _make(self, one: Recipient) -> MadeLink | RefusedLink:
        request = self._request
        link = request.link if one.link is None else one.link
        url = request.url if one.url is None else one.url
        consent = request.consent if one.consent is None else one.consent
        outlet = self._find_outlet(link, url)
        if isinstance(outlet, LinkError):
            return RefusedLink(outlet.refusal, "url", str(outlet))
        try:
            token = self._maker.make(one.reference, consent=consent, link=link, target=outlet.target)
        except LinkError as error:
            return RefusedLink(error.refusal, find_field(error), str(error))
        has_url = bool(outlet.before or outlet.after)
        return MadeLink(token, f"{outlet.before}{token}{outlet.after}" if has_url else "")

    def _find_outlet(self, link: str, url: str) -> Outlet | LinkError:
        """Return how a link is written, or why none may lead there. Most recipients share one."""
        found = self._outlets.get((link, url))
        if found is None:
            if len(self._outlets) >= MAX_RECIPIENTS:
                self._outlets.clear()
            found = self._outlets[link, url] = self._make_outlet(link, url)
        return found

    def _make_outlet(self, link: str, url: str) -> Outlet | LinkError:
        request = self._request
        if request.type in LASTING:
            if url:
                return LinkError(LinkRefusal.TARGET, "it leads to the collector's own page: leave the url out")
            return make_outlet("", link=link, base=self._base)
        if not url:
            if request.redirect:
                return LinkError(LinkRefusal.TARGET, "a redirect needs a url")
            return make_outlet("", link=link)
        site = find_target_site(url, self._key.space_id, self._book.sites.values())
        if site is None or self._key.site_id not in ("", site.site_id):
            return LinkError(
                LinkRefusal.TARGET, "no site of the key lets links lead there: a page of its own, or of its link_hosts"
            )
        outlet = make_outlet("", link=link, url=url, parameter=self._parameter, base=self._base * request.redirect)
        return outlet._replace(target=url * request.redirect)


def find_field(error: LinkError) -> str:
    """Return which field of a request is meant."""
    if error.refusal is LinkRefusal.TARGET:
        return "url"
    if error.refusal is LinkRefusal.LABEL:
        return str(error).removeprefix("the ").partition(" ")[0]
    return "reference"
