"""The policy of a space: made of the settings and of all its sites."""

from __future__ import annotations

from collector.config import Config
from collector.identity.policy import DAY_MS, MINUTE_MS, Policy, make_policy
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, Site
from collector.sites.specs import read_kind


def test_without_sites_the_default_kinds_hold() -> None:
    """A space whose sites are not known yet keeps customers apart as every space does."""
    policy = make_policy(Config(), [])
    assert policy.kinds == DEFAULT_KINDS
    assert policy.is_unique("customer")
    assert not policy.is_unique("email")


def test_settings_become_bounds() -> None:
    """Days become milliseconds, and numbers stand as they are."""
    config = Config(
        look_back_days=7, shared_device_people=3, shared_device_days=5, customers_per_visitor=9, visitors_per_token=4
    )
    policy = make_policy(config, [], frozenset({"key"}))
    assert (policy.look_back_ms, policy.shared_device_people) == (7 * DAY_MS, 3)
    assert (policy.shared_device_window_ms, policy.max_customers_per_visitor) == (5 * DAY_MS, 9)
    assert (policy.link_visitors, policy.blocked_keys) == (4, {"key"})


def test_a_kind_says_its_own_caps() -> None:
    """As an operator writes it: how many visitors fuse a value, how many values one person may have."""
    policy = make_policy(Config(), [Site("a", kinds=(read_kind("phone:visitors=7:values=3", 0),))])
    assert (policy.count_visitors_allowed("phone"), policy.count_values_allowed("phone")) == (7, 3)
    assert (policy.count_visitors_allowed("other"), policy.count_values_allowed("other")) == (200, 1)


def test_of_two_declarations_the_careful_one_wins() -> None:
    """Unique before not, the smaller caps, the stronger priority, the shorter session; in any order of the sites."""
    first = Site("a", kinds=(IdentifierKind("k", unique=True, priority=5, max_visitors=10),), session_minutes=20)
    second = Site("b", kinds=(IdentifierKind("k", unique=False, priority=1, max_per_person=2),), deleted=True)
    for sites in ([first, second], [second, first]):
        policy = make_policy(Config(), sites)
        assert policy.is_unique("k")
        assert policy.rank("k") == (0, 1, "k")
        assert policy.count_visitors_allowed("k") == 10
        assert policy.count_values_allowed("k") == 2
        assert policy.session_ms == 20 * MINUTE_MS


def test_an_undeclared_kind_is_unique_but_gives_no_right() -> None:
    """It keeps people apart and merges none; it ranks behind every declared kind of its sort."""
    policy = Policy()
    assert policy.is_unique("loyalty")
    assert not policy.declares_unique("loyalty")
    assert policy.rank("customer") < policy.rank("loyalty")


def test_unique_kinds_rank_before_all_others() -> None:
    """Whatever the priorities say: what is unique names a person better."""
    policy = Policy(kinds=(IdentifierKind("a", unique=False, priority=0), IdentifierKind("b", priority=9)))
    assert policy.rank("b") < policy.rank("a")
