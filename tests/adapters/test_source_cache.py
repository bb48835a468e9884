"""The cache of a source, against a plain model, and its bounds, by property."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collector.adapters.cache import ENTRY_BYTES, RecordCache

TTL = {"name": 10.0, "tier": 2.0, "points": 0.0}
NONE_TTL_S, STALE_S = 3.0, 20.0
ALL = tuple(TTL)


def make_cache(max_entries: int = 100, max_bytes: int = 1_000_000) -> RecordCache:
    return RecordCache(TTL, NONE_TTL_S, STALE_S, max_entries, max_bytes)


def test_a_field_is_fresh_then_stale_then_gone() -> None:
    """Each by its own time to live."""
    cache = make_cache()
    cache.put("7", ALL, {"name": "Ada", "tier": "gold", "points": 3}, 100.0, 5)
    look = cache.look("7", ALL, 101.0)
    assert look.fresh.keys() == {"name", "tier"}
    assert look.stale.keys() == {"points"}
    assert look.fresh["name"].at_ms == 5
    look = cache.look("7", ALL, 102.0)
    assert (look.fresh.keys(), look.stale.keys()) == ({"name"}, {"tier", "points"})
    look = cache.look("7", ALL, 122.0)
    assert (look.fresh.keys(), look.stale.keys()) == (set(), {"name"})
    assert cache.look("7", ALL, 130.0) == ({}, {}, False)
    assert len(cache) == 0
    assert cache.size_bytes == 0


def test_absence_is_known_and_never_stale() -> None:
    """A record without the field, and no record at all, hold for their own time."""
    cache = make_cache()
    cache.put("7", ALL, {"name": "Ada"}, 0.0, 0)
    look = cache.look("7", ALL, 1.0)
    assert look.fresh["tier"].is_absent
    assert "tier" not in cache.look("7", ALL, 2.5).stale
    cache.put_none("7", 5.0)
    assert cache.look("7", ALL, 7.9).is_none
    assert cache.look("7", ALL, 8.0) == ({}, {}, False)


def test_a_record_that_comes_back_is_no_longer_none() -> None:
    """And what it had before it went is gone."""
    cache = make_cache()
    cache.put("7", ["name"], {"name": "Ada"}, 0.0, 0)
    cache.put_none("7", 1.0)
    cache.put("7", ["tier"], {"tier": "gold"}, 1.5, 0)
    look = cache.look("7", ALL, 2.0)
    assert not look.is_none
    assert look.fresh.keys() == {"tier"}


def test_the_least_asked_for_goes_first() -> None:
    """By entries and by bytes."""
    cache = make_cache(max_entries=2)
    for key in "ab":
        cache.put(key, ["name"], {"name": "x"}, 0.0, 0)
    cache.look("a", ALL, 1.0)
    cache.put("c", ["name"], {"name": "x"}, 1.0, 0)
    assert [bool(cache.look(key, ALL, 1.0).fresh) for key in "abc"] == [True, False, True]


def test_what_is_too_large_is_not_kept() -> None:
    """And what was kept before does not stay in its place."""
    cache = make_cache(max_bytes=20 * ENTRY_BYTES)
    cache.put("a", ["name"], {"name": "Ada"}, 0.0, 0)
    cache.put("a", ["name"], {"name": "x" * 10_000}, 1.0, 0)
    cache.put("b", ["name"], {"name": 1 << 70}, 1.0, 0)
    assert cache.look("a", ALL, 1.0) == ({}, {}, False)
    loop: list[Any] = []
    loop.append(loop)
    cache.put("c", ["name"], {"name": loop}, 1.0, 0)
    assert cache.look("c", ALL, 1.0) == ({}, {}, False)


def test_one_large_record_does_not_push_out_many() -> None:
    """Nobody's record takes more than a tenth of the room."""
    cache = make_cache(max_bytes=20_000)
    for number in range(20):
        cache.put(str(number), ["name"], {"name": "x"}, 0.0, 0)
    cache.put("large", ["name"], {"name": "x" * 15_000}, 0.0, 0)
    assert len(cache) == 20


def test_a_field_that_is_over_is_not_kept_for_the_sake_of_others() -> None:
    """It goes when another field of its record comes."""
    cache = make_cache()
    cache.put("7", ["name"], {"name": "x" * 1_000}, 0.0, 0)
    cache.put("7", ["tier"], {"tier": "gold"}, 100.0, 0)
    assert cache.size_bytes < 1_000


def test_what_is_over_does_not_wait_to_be_pushed_out() -> None:
    """Entries that nobody asks for again go while others come."""
    cache = make_cache(max_entries=1_000)
    for number in range(100):
        cache.put(f"old {number}", ["name"], {"name": "x"}, 0.0, 0)
    for number in range(50):
        cache.put(f"new {number}", ["name"], {"name": "x"}, 1_000.0, 0)
    assert len(cache) == 50


keys = st.sampled_from("abcdefgh")
names = st.lists(st.sampled_from(ALL), unique=True, min_size=1)
values = st.one_of(st.text(max_size=200), st.integers(), st.none(), st.lists(st.text(max_size=5), max_size=3))


class CacheStory(RuleBasedStateMachine):
    """Any order of putting, asking and forgetting: nothing is handed out that was not put, or for too long."""

    MAX_ENTRIES, MAX_BYTES = 4, 12_000

    def __init__(self) -> None:
        super().__init__()
        self.cache = make_cache(self.MAX_ENTRIES, self.MAX_BYTES)
        self.model: dict[str, dict[str, tuple[Any, bool, float]]] = {}
        self.none: dict[str, float] = {}
        self.now_s = 0.0

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(key=keys, fields=names, data=st.data())
    def put(self, key: str, fields: list[str], data: st.DataObject) -> None:
        given_values = data.draw(st.dictionaries(st.sampled_from(fields), values))
        self.cache.put(key, fields, given_values, self.now_s, 0)
        self.none.pop(key, None)
        for name in fields:
            self.model.setdefault(key, {})[name] = (given_values.get(name), name not in given_values, self.now_s)

    @rule(key=keys)
    def put_none(self, key: str) -> None:
        self.cache.put_none(key, self.now_s)
        self.model.pop(key, None)
        self.none[key] = self.now_s

    @rule(key=keys)
    def forget(self, key: str) -> None:
        self.cache.forget(key)
        self.model.pop(key, None)
        self.none.pop(key, None)
        assert self.cache.look(key, ALL, self.now_s) == ({}, {}, False)

    @rule(key=keys, fields=names)
    def look(self, key: str, fields: list[str]) -> None:
        look = self.cache.look(key, fields, self.now_s)
        if look.is_none:
            assert self.now_s - self.none[key] < NONE_TTL_S
            assert not look.fresh
            assert not look.stale
        for kind, found in (("fresh", look.fresh), ("stale", look.stale)):
            assert found.keys() <= set(fields)
            for name, held in found.items():
                assert (held.value, held.is_absent, held.at_s) == self.model[key][name]
                age_s = self.now_s - held.at_s
                assert age_s < TTL[name] + (STALE_S if kind == "stale" else 0.0)
                if held.is_absent:
                    assert kind == "fresh"
                    assert age_s < NONE_TTL_S

    @invariant()
    def bounded(self) -> None:
        assert len(self.cache) <= self.MAX_ENTRIES
        assert 0 <= self.cache.size_bytes <= self.MAX_BYTES
        assert self.cache.size_bytes >= len(self.cache) * ENTRY_BYTES


TestCacheStory = CacheStory.TestCase
TestCacheStory.settings = settings(stateful_step_count=40)


@given(st.lists(st.tuples(keys, values), max_size=60))
def test_forgetting_all_gives_all_room_back(puts: list[tuple[str, Any]]) -> None:
    """The bytes that are counted are those of what is kept."""
    cache = make_cache(max_bytes=50_000)
    for key, value in puts:
        cache.put(key, ["name"], {"name": value}, 0.0, 0)
    for key in {key for key, _ in puts}:
        cache.forget(key)
    assert (len(cache), cache.size_bytes) == (0, 0)
    cache.put("a", ["name"], {"name": 1}, 0.0, 0)
    cache.clear()
    assert (len(cache), cache.size_bytes) == (0, 0)
