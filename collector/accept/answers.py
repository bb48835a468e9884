"""What somebody has answered about consent, as entries of the ledger: one for each purpose whose state has changed.

A page says on every page what its visitor has answered. The visitor's signed cookie carries what was written down
last, so an answer is an entry when it is new, and none when it is only said again. Without such a cookie, where a
browser keeps none for us, it is one with every session. An event `consent` is always one where it brings a proof.

What a browser's own signal takes away (Global Privacy Control, Do Not Track) is an entry of that source. Whoever takes
everything back has no visitor any more; the cookie that comes along says for the last time whose withdrawal it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from collector.accept.visitor import read_sent_cookie
from collector.accept.visitor_cookie import VisitorCookie
from collector.event import NIL_ID, Beacon, ConsentRow, Context, Rejected, WireEvent
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.privacy.tombstones import mark_key
from collector.purposes import ASKED, NOT_UNDER_GPC, PERSONAL_SOURCES, PURPOSE_BY_LETTER, Purpose, find_purposes
from collector.reasons import Reason

CONSENT = "consent"
"""The event by which a page says that somebody has just answered."""

GRANTED, DENIED, WITHDRAWN = "granted", "denied", "withdrawn"
TAG, GPC, DNT, OPT_OUT = "tag", "gpc", "dnt", "opt_out"
MAX_PROOF_CHARS = 4_000
MAX_POLICY_VERSION = 65_535
_NOT_OF_PAGES = frozenset((*PERSONAL_SOURCES, GPC, DNT, OPT_OUT))
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,63}")
_MARK = re.compile(r"([a-z?]*)(-?)([0-9]{1,5})")
_UNANSWERED = "?"
_REFUSED_BY_SIGNAL = "-"
_T = TypeVar("_T")
_LETTERS = {purpose: letter for letter, purpose in PURPOSE_BY_LETTER.items()}


class _Mark(NamedTuple):
    """What a cookie says of the last answer that was written down. `policy`: 0: none was."""

    letters: str = ""
    is_refused: bool = False  # a signal of the browser has refused what it can
    policy: int = 0

    def find_state(self, purpose: Purpose) -> str:
        """Return granted or denied; "" where nothing was said of it."""
        if not self.policy:
            return ""
        if self.is_refused and purpose in NOT_UNDER_GPC:
            return DENIED
        if self.letters == _UNANSWERED:
            return ""
        return GRANTED if _LETTERS[purpose] in self.letters else DENIED


class _About(NamedTuple):
    """What a page gave along with an answer."""

    source: str = TAG
    proof: str = ""
    policy: int = 0


def note_answer(beacon: Beacon, context: Context, cookie: VisitorCookie | None) -> str:
    """Make the entries of a beacon that is kept. `cookie`: the one in force. Returns what the visitor's cookie is to
    say of it from now on. Needs `row.own_person_id`."""
    before = "" if cookie is None else cookie.consent
    row, letters = beacon.row, beacon.envelope.consent
    said = next((event for event in beacon.envelope.events if event.name == CONSENT), None)
    if beacon.is_cookieless or row.own_person_id == NIL_ID or (letters is None and not context.gpc):
        return before
    about = _About() if said is None else _take_about(beacon, said)
    mark = make_mark(letters, is_refused=context.gpc, policy=about.policy or beacon.site.policy_version)
    if said is None and (mark == before if cookie is not None else not _begins_session(beacon)):
        return before
    first = said or beacon.envelope.events[0]
    row.consents = _make_entries(beacon, context, row.own_person_id, (before, mark), first, about)
    return mark


def withdraw(beacon: Beacon, context: Context, source: str = TAG) -> None:
    """Note who has taken everything back: the visitor of the cookie that came along. Without one nobody is known.

    A picture takes nothing back: it may stand in what a stranger has written on the site."""
    sent = None if context.pixel and source != OPT_OUT else read_sent_cookie(beacon, context)
    if sent is None:
        return
    space_id = beacon.site.space_id
    key = own_person_id(context.keyring.pseudonym_key, space_id, VISITOR_KIND, sent.visitor_id)
    if context.sites.tombstones.find_erased_ms(space_id, mark_key(key)):
        return
    events = beacon.envelope.events
    said = next((event for event in events if event.name == CONSENT), None)
    about = _About() if said is None else _take_about(beacon, said)
    if source != TAG:
        about = about._replace(source=source)
    policy = about.policy or beacon.site.policy_version
    mark = make_mark("", is_refused=False, policy=policy)
    before = sent.consent or make_mark("".join(PURPOSE_BY_LETTER), is_refused=False, policy=policy)
    first = said or WireEvent(id=NIL_ID, name=CONSENT, time_ms=context.received_at_ms, url=f"{context.origin}/")
    beacon.withdrawals = _make_entries(beacon, context, key, (before, mark), first, about)


@lru_cache(maxsize=1024)
def find_told(mark: str, preset: str, *, gpc: bool) -> frozenset[Purpose]:
    """Return the purposes that a browser was told, by what its cookie says; by the preset where it says nothing."""
    read = _read_mark(mark)
    letters = None if read.letters in ("", _UNANSWERED) else read.letters
    return find_purposes(letters, preset, gpc)


@lru_cache(maxsize=1024)
def make_mark(letters: str | None, *, is_refused: bool, policy: int) -> str:
    """Return what a cookie says of an answer. `letters`: None where nobody was asked."""
    known = _UNANSWERED if letters is None else "".join(letter for letter in PURPOSE_BY_LETTER if letter in letters)
    return f"{known}{_REFUSED_BY_SIGNAL if is_refused else ''}{policy}"


@lru_cache(maxsize=1024)
def _read_mark(text: str) -> _Mark:
    match = _MARK.fullmatch(text)
    return _Mark() if match is None else _Mark(match[1], bool(match[2]), int(match[3]))


def _begins_session(beacon: Beacon) -> bool:
    return any(event.time_ms == beacon.row.session_started_ms for event in beacon.envelope.events)


def _take_about(beacon: Beacon, said: WireEvent) -> _About:
    """Read what stands with the answer. The proof goes to the ledger alone, and is no property of the event."""
    source, proof, policy = said.props.get("source", TAG), said.props.pop("proof", ""), said.props.get("policy", 0)
    if not isinstance(source, str) or not _SOURCE.fullmatch(source) or source in _NOT_OF_PAGES:
        source = _refuse(beacon, said, Reason.SHAPE, "source", TAG)
    if not isinstance(proof, str):
        proof = _refuse(beacon, said, Reason.SHAPE, "proof", "")
    elif len(proof) > MAX_PROOF_CHARS:
        proof = _refuse(beacon, said, Reason.SIZE, "proof", "")
    if not isinstance(policy, int) or not 0 <= policy <= MAX_POLICY_VERSION:
        policy = _refuse(beacon, said, Reason.SHAPE, "policy", 0)
    return _About(source, proof, policy)


def _refuse(beacon: Beacon, said: WireEvent, reason: Reason, name: str, instead: _T) -> _T:
    said.props.pop(name, None)
    beacon.rejected.append(Rejected(reason, field=f"e.p.{name}"))
    return instead


def _make_entries(
    beacon: Beacon, context: Context, key: str, marks: Sequence[str], said: WireEvent, about: _About
) -> list[ConsentRow]:
    """Return the entries between two marks; with a proof, those of all purposes that were answered."""
    before, now = map(_read_mark, marks)
    signal = DNT if context.is_dnt else GPC
    entries = []
    for purpose in ASKED:
        earlier, state = before.find_state(purpose), now.find_state(purpose)
        if not state or (state == earlier and before.policy == now.policy and not about.proof):
            continue
        if state == DENIED and earlier == GRANTED:
            state = WITHDRAWN
        source = signal if now.is_refused and purpose in NOT_UNDER_GPC else about.source
        text = f"{key}|{purpose}|{state}|{source}|{said.time_ms}|{now.policy}|{about.proof}"
        entries.append(
            ConsentRow(
                consent_id=blake2b(text.encode(), digest_size=16, person=b"tagstitch.consen").hexdigest(),
                key=key,
                purpose=purpose,
                state=state,
                source=source,
                time_ms=said.time_ms,
                policy_version=now.policy,
                proof=about.proof,
                page=said.url or beacon.envelope.url,
            )
        )
    return entries
