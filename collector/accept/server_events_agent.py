"""Who at the organisation names a customer, and how they have made sure: an agent on the phone, a clerk in the shop.

`context.actor` and `context.verification` go into the evidence, so that what one agent or one leaked key has said can
be found and taken back. Of the agent no more is kept than a short code of the organisation's own: no name, no address.

Invariant: whom nobody has verified (`none`) is a claim, whatever the key may do.
"""

from __future__ import annotations

import re

from collector.accept.server_events_call import CallContext
from collector.accept.server_events_statement import Caller, Statement, refuse
from collector.reasons import Reason

NOT_VERIFIED = "none"
VERIFICATIONS = frozenset(
    (
        NOT_VERIFIED,
        "number",  # called from the number that is known
        "knowledge",  # answered questions
        "secret",  # said a password or a PIN
        "code",  # read out a code that was sent to them
        "callback",  # was called back on the number that is known
        "app",  # confirmed in the app
        "card",  # showed a customer's card
        "document",  # showed an official document
        "voice",  # was recognised by the voice
    )
)
"""How a caller was verified. Closed, so that reports can count by it."""
_ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def read_agent(statement: Statement, where: CallContext, caller: Caller) -> None:
    """Fill in who vouches and how they have made sure. What has not its form is left out, and said."""
    statement.actor = caller.actor
    if where.actor:
        if _ACTOR.fullmatch(where.actor):
            statement.actor = f"{caller.actor}/{where.actor}" if caller.actor else where.actor
        else:
            statement.left_out.append(refuse(Reason.SHAPE, "context.actor"))
    if where.verification:
        if where.verification in VERIFICATIONS:
            statement.verification = where.verification
        else:
            statement.left_out.append(refuse(Reason.SHAPE, "context.verification"))
