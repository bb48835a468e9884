"""The policy of a space: the numbers and kinds by which its evidence is judged.

Owns no rules, only their bounds. Frozen and passed in, so that the same evidence under the same policy gives the
same people for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from collector.config import Config
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, Site

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LOWEST_PRIORITY = 1_000


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds of one space. Times in milliseconds."""

    kinds: tuple[IdentifierKind, ...] = DEFAULT_KINDS
    look_back_ms: int = 90 * DAY_MS
    shared_device_people: int = 5  # more people than this in the window: a shared device
    shared_device_window_ms: int = 30 * DAY_MS
    session_ms: int = 30 * MINUTE_MS  # on a shared device a signed session ends this long after its last sign-in
    max_session_ms: int = DAY_MS  # a click's session began at most this long before its human signal
    max_customers_per_visitor: int = 50  # a browser with more is nobody's: support staff, a kiosk, a test machine
    max_visitors: int = 200  # for kinds that no site declares
    link_visitors: int = 2  # visitors that one tagged link may attach: the mail read on phone and desk
    blocked: frozenset[str] = frozenset()  # the space's own list of values, in normal form
    blocked_keys: frozenset[str] = frozenset()  # and of identifiers, by own person id: see blocks
    _by_name: dict[str, IdentifierKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {kind.name: kind for kind in self.kinds})

    def is_unique(self, kind: str) -> bool:
        """Whether a person has at most one value of this kind. A kind that nobody declared is taken as unique:
        that keeps people apart."""
        declared = self._by_name.get(kind)
        return declared is None or declared.unique

    def declares_unique(self, kind: str) -> bool:
        """Whether some site says that this kind is unique: needed where uniqueness gives a right."""
        declared = self._by_name.get(kind)
        return declared is not None and declared.unique

    def rank(self, kind: str) -> tuple[int, int, str]:
        """Return the kind's place among kinds: unique ones first, then by priority; smaller is stronger."""
        declared = self._by_name.get(kind)
        priority = LOWEST_PRIORITY if declared is None else declared.priority
        return (0 if self.is_unique(kind) else 1, priority, kind)

    def count_visitors_allowed(self, kind: str) -> int:
        """Return with how many visitors a value of this kind may be seen before it is fused."""
        declared = self._by_name.get(kind)
        return self.max_visitors if declared is None else declared.max_visitors

    def count_values_allowed(self, kind: str) -> int:
        """Return how many values of a kind that is not unique one person may have below level 4."""
        declared = self._by_name.get(kind)
        return 1 if declared is None else declared.max_per_person


def make_policy(config: Config, sites: Iterable[Site], blocked_keys: frozenset[str] = frozenset()) -> Policy:
    """Make the policy of a space from the settings and from all its sites, those switched off included.

    `blocked_keys`: identifiers that an operator has blocked, by own person id.
    Where two sites declare one kind differently, the careful one wins: unique before not, the smaller cap, the
    stronger priority, the shorter session.
    """
    kinds: dict[str, IdentifierKind] = {}
    minutes = []
    for site in sites:
        minutes.append(site.session_minutes)
        for kind in site.kinds:
            other = kinds.get(kind.name, kind)
            kinds[kind.name] = IdentifierKind(
                name=kind.name,
                unique=kind.unique or other.unique,
                personal=kind.personal or other.personal,
                normaliser=min(kind.normaliser, other.normaliser),
                priority=min(kind.priority, other.priority),
                max_visitors=min(kind.max_visitors, other.max_visitors),
                max_per_person=min(kind.max_per_person, other.max_per_person),
            )
    return Policy(
        kinds=tuple(kinds[name] for name in sorted(kinds)) or DEFAULT_KINDS,
        look_back_ms=config.look_back_days * DAY_MS,
        shared_device_people=config.shared_device_people,
        shared_device_window_ms=config.shared_device_days * DAY_MS,
        max_customers_per_visitor=config.customers_per_visitor,
        link_visitors=config.visitors_per_token,
        session_ms=min(minutes, default=30) * MINUTE_MS,
        blocked_keys=blocked_keys,
    )
