"""Repair against a real engine: what an operator plans, what stitch makes of it, and that undoing gives it all back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.errors import RepairError, RepairReason
from collector.identity import repair
from collector.identity.arrival import wait_for_map
from collector.identity.difference import see_what_came
from collector.identity.explain import MEANINGS
from collector.identity.guards import GuardReason
from collector.identity.repair import Plan
from collector.identity.selection import Selector
from tests.identity.repair_desk import SITE, Desk, check_prospect, compare_with
from tests.identity.story import alias, click, hours, key, name_value, rekey, reset, sign_in, tie
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("repair")) as store:
        yield store


@pytest.fixture
def desk(shared_store: RunningStore) -> Iterator[Desk]:
    """The engine with empty tables and one site. In the end a rebuild would change nothing."""
    desk = Desk(shared_store)
    yield desk
    assert desk.differs() == 0


def called(name: str) -> str:
    """Return how an operator calls a customer or visitor of the story."""
    letter = {"K": "customer", "L": "login", "E": "email"}.get(name[0], "visitor")
    return f"{letter}={name_value(name)}"


def do(desk: Desk, plan: repair.Plan) -> Any:
    """Carry a plan out, and see that what came of it is what it said: in the map, and in v_events."""
    before, owners = desk.stand(), desk.owners()
    entry = desk.carry_out(plan)
    after = desk.stand()
    said, came = compare_with(plan, before, after)
    assert came == said
    check_prospect(plan, after)
    changed = sum(desk.owners()[event] != person for event, person in owners.items())
    assert plan.difference.events == changed
    return entry


def two_customers(desk: Desk) -> None:
    """A is K1's with an e-mail, B is K2's; both have looked at pages before and after."""
    desk.load(
        *sign_in("A", "K1", "E1", at=hours(2)),
        *sign_in("B", "K2", at=hours(3)),
        events=[("A", hours(1)), ("A", hours(4)), ("B", hours(2)), ("B", hours(5)), ("B", hours(6)), ("K2", hours(7))],
    )


def test_a_merge_is_undone_by_its_entry(desk: Desk) -> None:
    """Merge, undo, and once more: the old person ids come back by themselves, and go again."""
    two_customers(desk)
    before = desk.stand()
    merged = do(desk, desk.repairs.plan_merge(called("K1"), called("K2")))
    assert desk.who("B") == ["K1"] * 3
    assert desk.people()[key("K2")] == key("K1")
    undone = do(desk, desk.repairs.plan_undo(merged.audit_id))
    assert desk.stand() == before
    assert desk.who("B") == ["K2"] * 3
    do(desk, desk.repairs.plan_undo(undone.audit_id))
    assert desk.who("B") == ["K1"] * 3
    with pytest.raises(RepairError, match=undone.audit_id) as caught:
        desk.repairs.plan_undo(merged.audit_id)
    assert caught.value.reason == RepairReason.CONFLICT


def test_a_plan_says_who_moves_and_how_many_events(desk: Desk) -> None:
    """The dry run of a merge: two people before, one after, and B's and K2's events in other hands."""
    two_customers(desk)
    plan = desk.repairs.plan_merge(called("E1"), f"person={key('K2')}")
    difference = plan.difference
    assert [line.person_id for line in difference.people_after] == [key("K1")]
    assert {line.person_id for line in difference.people_before} == {key("K1"), key("K2")}
    assert {item.key for item in difference.moved} == {key("B"), key("K2")}
    assert difference.events == 4
    assert (difference.people_after[0].identifiers, difference.people_after[0].visitors) == (3, 2)
    assert desk.repairs.list_entries() == []
    assert desk.who("B") == ["K2"] * 3


def test_a_forwarded_mail_is_taken_back_by_its_token(desk: Desk) -> None:
    """K1's link was clicked on three devices: retracting the token frees them all, and restoring ties them again."""
    desk.load(
        *click("A", "K1", hours(1), token="mail-7"),
        *click("B", "K1", hours(2), token="mail-7"),
        *click("C", "K2", hours(2), token="mail-8"),
        events=[("A", hours(1)), ("B", hours(2)), ("C", hours(2))],
    )
    assert [desk.who(name) for name in "ABC"] == [["K1?"], ["K1?"], ["K2?"]]
    before = desk.stand()
    entry = do(desk, desk.repairs.plan_retract(Selector(token="mail-7")))
    assert [desk.who(name) for name in "ABC"] == [[""], [""], ["K2?"]]
    assert len(entry.taken_back) == 2
    restored = do(desk, desk.repairs.plan_restore(entry.taken_back))
    assert desk.stand() == before
    assert sorted(restored.appended) == sorted(f"{each}+1" for each in entry.taken_back)


def test_a_split_frees_what_is_named_and_nothing_else(desk: Desk) -> None:
    """An e-mail that was typed on the wrong account goes; the customer and the visitor stay one."""
    desk.load(*sign_in("A", "K1", "E1", at=hours(1)), *sign_in("B", "K1", at=hours(2)), *alias("K1", "E1", hours(3)))
    before = desk.stand()
    entry = do(desk, desk.repairs.plan_split([called("E1")]))
    assert key("E1") not in desk.people()
    assert {desk.people()[key(name)] for name in ("A", "B", "K1")} == {key("K1")}
    assert len(entry.taken_back) == 2
    do(desk, desk.repairs.plan_undo(entry.audit_id))
    assert desk.stand() == before


def test_a_split_parts_customers_whom_a_visitor_ties(desk: Desk) -> None:
    """A login and a customer number, tied by signing in one after the other on one browser: the login leaves."""
    desk.load(*sign_in("A", "K1", at=hours(1)), *sign_in("A", "L1", at=hours(2)), events=[("A", hours(3))])
    assert desk.people()[key("L1")] == key("K1")
    do(desk, desk.repairs.plan_split([called("L1")]))
    assert key("L1") not in desk.people()
    assert desk.people()[key("A")] == key("K1")


def test_a_blocked_value_lets_go_of_everybody(desk: Desk) -> None:
    """A family's e-mail ties nobody from now on, also whoever signs in with it later; letting it go ties them again."""
    desk.load(
        *sign_in("A", "E1", at=hours(1)),
        *sign_in("B", "E1", at=hours(2)),
        *sign_in("C", "K1", "E1", at=hours(3)),
        events=[("A", hours(2)), ("B", hours(3)), ("C", hours(4))],
    )
    before = desk.stand()
    entry = do(desk, desk.repairs.plan_block(called("E1"), "a family's"))
    assert [desk.who(name) for name in "ABC"] == [[""], [""], ["K1"]]
    desk.load(*sign_in("D", "E1", at=hours(5)), events=[("D", hours(5))])
    assert desk.who("D") == [""]
    assert [block.reason for block in desk.repairs.list_blocks()] == ["a family's"]
    assert desk.store.query("SELECT toString(own_person_id) AS id, kind FROM v_identity_blocks") == [
        {"id": key("E1"), "kind": "email"}
    ]
    do(desk, desk.repairs.plan_undo(entry.audit_id))
    assert [desk.who(name) for name in "ABD"] == [["K1"]] * 3
    after = desk.stand()
    assert all(after.map_rows[name] == row for name, row in before.map_rows.items())
    with pytest.raises(RepairError, match="not blocked"):
        desk.repairs.plan_block(called("E1"), blocked=False)


@pytest.mark.long
def test_a_shared_value_ties_again_when_the_one_too_many_is_taken_back(shared_store: RunningStore) -> None:
    """Three visitors may have a customer number; the fourth fuses it. The plan sees through that, both ways."""
    kinds = tuple(msgspec.structs.replace(kind, max_visitors=3) for kind in SITE.kinds)
    desk = Desk(shared_store, msgspec.structs.replace(SITE, kinds=kinds))
    desk.load(
        *(row for n in range(3) for row in sign_in(f"v{n}", "K1", at=hours(1))),
        events=[(f"v{n}", hours(2)) for n in range(4)],
    )
    fourth = sign_in("v3", "K1", at=hours(1))
    desk.load(*fourth)
    assert [desk.who(f"v{n}") for n in range(4)] == [[""]] * 4
    said = desk.repairs.explain(called("K1"))
    assert said.is_shared
    assert {(each.state, each.reason) for each in said.evidence} == {("refused", "fused")}
    plan = desk.repairs.plan_retract(Selector(ids=(fourth[0].evidence_id,)))
    assert plan.difference.released == {"fused": 4}
    entry = do(desk, plan)
    assert [desk.who(f"v{n}") for n in range(4)] == [["K1"], ["K1"], ["K1"], [""]]
    again = desk.repairs.plan_undo(entry.audit_id)
    assert again.difference.refused == {"fused": 4}
    do(desk, again)
    assert [desk.who(f"v{n}") for n in range(4)] == [[""]] * 4


def test_evidence_is_found_by_actor_source_time_and_identifier(desk: Desk) -> None:
    """What is given must all fit; what was taken back already is not counted again."""
    rows = [*sign_in("A", "K1", at=hours(1)), *sign_in("A", "K1", at=hours(5)), *sign_in("B", "K2", at=hours(5))]
    agent = msgspec.structs.replace(sign_in("C", "K3", at=hours(5))[0], actor="agent-7", source="server")
    desk.load(*rows, agent)

    def count(selector: Selector, identifier: str = "") -> int:
        return len(desk.repairs.plan_retract(selector, identifier).taken_back)

    assert count(Selector(source="tag")) == 3
    assert count(Selector(actor="agent-7")) == 1
    assert count(Selector(from_ms=hours(2), to_ms=hours(6))) == 3
    assert count(Selector(from_ms=hours(2), source="tag")) == 2
    assert count(Selector(source="tag"), called("A")) == 2
    do(desk, desk.repairs.plan_retract(Selector(ids=(rows[0].evidence_id,))))
    assert count(Selector(source="tag")) == 2
    for selector in (Selector(token="none"), Selector(ids=(rows[0].evidence_id,))):
        with pytest.raises(RepairError) as caught:
            desk.repairs.plan_retract(selector)
        assert caught.value.reason == RepairReason.NOTHING
    with pytest.raises(RepairError) as caught:
        desk.repairs.plan_retract(Selector())
    assert caught.value.reason == RepairReason.ARGUMENT


def test_a_key_stands_for_the_agents_behind_it(desk: Desk) -> None:
    """All that a leaked key has said is found by its id, whoever used it; one agent by their own code."""
    said = [tie("A", "K1", hours(at), 4, proof="server", id=f"said {at}") for at in range(4)]
    actors = ("key:1a", "key:1a/agent-1", "key:1a/agent-2", "key:1a2")
    desk.load(*(msgspec.structs.replace(row, actor=actor) for row, actor in zip(said, actors, strict=True)))

    def count(actor: str) -> int:
        return len(desk.repairs.plan_retract(Selector(actor=actor)).taken_back)

    assert [count(actor) for actor in actors] == [3, 1, 1, 1]


def test_very_much_is_taken_back_only_when_it_is_expected(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the bound needs the number, and the refusal says it."""
    desk.load(*(row for n in range(5) for row in sign_in(f"v{n}", f"K{n}", at=hours(1))))
    monkeypatch.setattr(repair, "MAX_PIECES", 4)
    with pytest.raises(RepairError, match="--yes-all 5") as caught:
        desk.repairs.plan_retract(Selector(source="tag"))
    assert caught.value.reason == RepairReason.TOO_MANY
    assert len(desk.repairs.plan_retract(Selector(source="tag"), expected=5).taken_back) == 5


def test_who_is_not_known_and_what_makes_no_sense_is_refused(desk: Desk) -> None:
    """Each with its word, and a line that says what to do."""
    desk.load(*sign_in("A", "K1", "E1", at=hours(1)), *sign_in("B", "K2", at=hours(1)), events=[("C", hours(1))])
    repairs = desk.repairs
    for attempt, reason in (
        (lambda: repairs.plan_merge("customer=unheard", called("K1")), RepairReason.UNKNOWN),
        (lambda: repairs.plan_merge(name_value("Z"), called("K1")), RepairReason.UNKNOWN),
        (lambda: repairs.plan_merge("shoe=42", called("K1")), RepairReason.ARGUMENT),
        (lambda: repairs.plan_merge("4711", called("K1")), RepairReason.ARGUMENT),
        (lambda: repairs.plan_merge(called("E1"), called("K1")), RepairReason.CONFLICT),
        (lambda: repairs.plan_merge(name_value("C"), called("K1")), RepairReason.CONFLICT),
        (lambda: repairs.plan_split([called("K1"), called("K2")]), RepairReason.CONFLICT),
        (lambda: repairs.plan_split([called("K1"), called("E1"), called("A")]), RepairReason.NOTHING),
        (lambda: repairs.plan_restore(["0" * 32]), RepairReason.UNKNOWN),
        (lambda: repairs.plan_undo("x"), RepairReason.ARGUMENT),
        (lambda: repairs.plan_undo(name_value("Z")), RepairReason.UNKNOWN),
        (lambda: repairs.explain(f"customer={'x' * 600}"), RepairReason.ARGUMENT),
    ):
        with pytest.raises(RepairError) as caught:
            attempt()
        assert caught.value.reason == reason, caught.value
        assert "\n" not in str(caught.value)


def test_a_space_that_is_none_is_refused(desk: Desk) -> None:
    """A slip in the name of a space must not block somebody nowhere."""
    desk.repairs.space_id = "mian"
    with pytest.raises(RepairError, match="no identity space mian") as caught:
        desk.repairs.plan_block(called("E1"))
    assert caught.value.reason == RepairReason.UNKNOWN


def test_every_word_of_the_guard_log_has_a_meaning() -> None:
    """In explanations, and on the page for those who ask."""
    assert set(MEANINGS) == set(GuardReason)
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")
    assert [reason for reason in GuardReason if f"`{reason}`" not in page] == []


def test_a_name_that_two_sites_read_differently_is_not_guessed(desk: Desk) -> None:
    """One site takes a login as text, another as a UUID: where both readings are known, the operator must choose."""
    from collector.identity.identifiers import name_identifier
    from collector.sites.rows import write_site

    login = next(kind for kind in SITE.kinds if kind.name == "login")
    other = msgspec.structs.replace(login, normaliser="uuid")
    second = msgspec.structs.replace(
        SITE, site_id="desk", origins=("https://desk.example",), kinds=(SITE.kinds[0], other)
    )
    write_site(desk.store.writer, second, None)  # sites that were added before they had to agree
    spelled = name_value("A").upper()
    rows = []
    for visitor, kind, value in (("A", login, spelled), ("B", other, spelled.lower())):
        named = name_identifier(desk.keyring, "main", kind, value)
        row = sign_in(visitor, "L1", at=hours(1))[0]
        rows.append(msgspec.structs.replace(row, b_value=named.value, b_key=named.key))
    desk.load(*rows)
    with pytest.raises(RepairError, match="person id") as caught:
        desk.repairs.explain(f"login={spelled}")
    assert caught.value.reason == RepairReason.AMBIGUOUS
    assert desk.repairs.explain(f"person={rows[0].b_key}").named == rows[0].b_key


def test_an_explanation_names_every_tie_and_every_refusal(desk: Desk) -> None:
    """What tied, what is a hint, what was refused and why, what was taken back and by whom."""
    stranger = sign_in("A", "K2", at=hours(2), level=1)
    late = click("A", "K2", hours(9), token="mail")
    wrong = sign_in("A", "E2", at=hours(4))
    desk.load(
        *sign_in("A", "K1", "E1", at=hours(1)),
        *stranger,
        *late,
        *wrong,
        *sign_in("B", "K1", at=hours(5), proof="script"),
    )
    desk.carry_out(desk.repairs.plan_retract(Selector(ids=(wrong[0].evidence_id,))))
    said = desk.repairs.explain(called("E1"))
    assert (said.person_id, said.customer_id, said.customer_kind, said.level) == (key("K1"), "value-K1", "customer", 3)
    assert {tied.person_id for tied in said.identifiers} == {key(name) for name in ("K1", "E1", "A", "B")}
    assert [tied.kind for tied in said.identifiers][-2:] == ["visitor", "visitor"]
    states = {each.evidence_id: each for each in said.evidence}
    assert states[stranger[0].evidence_id].state == "hint"
    assert states[late[0].evidence_id].state == "refused"
    assert states[late[0].evidence_id].reason == "other_customer"
    assert "another customer" in states[late[0].evidence_id].meaning
    assert states[wrong[0].evidence_id].state == "taken back"
    assert states[wrong[0].evidence_id].taken_back_by == "operator:eve"
    assert [each.word for each in said.merges] == ["associate"]
    assert desk.repairs.explain(name_value("A")).person_id == key("K1")
    assert len(desk.repairs.explain(called("K1"), most=2).evidence) == 2
    assert desk.repairs.explain(called("K1"), most=2).left_out == len(said.evidence) - 2


def test_a_visitor_of_whom_nothing_is_known_is_explained_too(desk: Desk) -> None:
    """Pages were seen, nobody signed in: the visitor is its own person, and there is no evidence."""
    desk.load(events=[("Z", hours(1))])
    said = desk.repairs.explain(name_value("Z"))
    assert (said.person_id, said.customer_id, said.evidence, said.left_out) == (key("Z"), "", (), 0)
    assert [(tied.kind, tied.value) for tied in said.identifiers] == [("visitor", name_value("Z"))]
    assert desk.repairs.explain(f"person={key('Z')}").person_id == key("Z")


def test_an_explanation_of_a_shared_browser_says_when_it_was_whose(desk: Desk) -> None:
    """Two people in turn: each one's explanation has the browser for their time only."""
    desk.load(*sign_in("A", "K1", at=hours(1)), *reset("A", "A", at=hours(2)), *sign_in("A", "K2", at=hours(3)))
    (first,) = [tied for tied in desk.repairs.explain(called("K1")).identifiers if tied.kind == "visitor"]
    (second,) = [tied for tied in desk.repairs.explain(called("K2")).identifiers if tied.kind == "visitor"]
    assert first.held[-1].to_ms == hours(2)
    assert [(span.from_ms, span.to_ms) for span in second.held][-1][1] is None
    assert desk.repairs.explain(called("A")).others == (key("K1"),)


def test_the_log_says_who_did_what_and_holds_no_clear_value(desk: Desk) -> None:
    """Newest first; identifiers by their own ids; the view for readers leaves names and words out."""
    two_customers(desk)
    merged = desk.carry_out(desk.repairs.plan_merge(called("K1"), called("K2")), "asked for by phone")
    undone = desk.undo(merged)
    entries = desk.repairs.list_entries()
    assert [entry.action for entry in entries] == ["undo", "merge"]
    assert entries[1].actor == "operator:eve"
    assert entries[1].note == "asked for by phone"
    assert entries[1].people_before == tuple(sorted((key("K1"), key("K2"))))
    assert "value-" not in entries[1].arguments
    assert msgspec.json.decode(entries[1].arguments)["a"] == {"kind": "customer", "key": key("K1")}
    assert desk.repairs.list_entries(1) == entries[:1]
    rows = desk.store.query("SELECT action, is_undone, toString(undoes) AS undoes FROM v_audit_log ORDER BY at")
    assert [(row["action"], row["is_undone"]) for row in rows] == [("merge", 1), ("undo", 0)]
    assert rows[1]["undoes"] == merged.audit_id
    assert undone.undoes == merged.audit_id


@pytest.mark.long
def test_waiting_says_where_a_change_is(desk: Desk) -> None:
    """Not loaded, loaded, stitched and seen: each stage is told once, and time that is over ends the waiting."""
    two_customers(desk)
    plan = desk.repairs.plan_merge(called("K1"), called("K2"))

    def wait() -> tuple[bool, list[str]]:
        told: list[str] = []
        moved = plan.difference.moved
        return wait_for_map(desk.store.writer, plan.statements, moved, 0, tell=told.append), told

    desk.repairs.begin(plan)
    assert wait() == (False, ["loading"])
    desk.load_plan(plan)
    assert wait() == (False, ["loading", "stitching"])
    desk.stitch()
    assert wait() == (True, ["loading", "stitching", "publishing"])
    assert see_what_came(desk.store.writer, "main", plan.prospect).moved == plan.difference.moved


def test_what_the_spool_did_not_take_is_in_the_log_as_failed(desk: Desk) -> None:
    """Nothing has changed, no block is left behind, the log says so, and there is nothing to undo."""
    two_customers(desk)
    before = desk.stand()
    for plan in (desk.repairs.plan_merge(called("K1"), called("K2")), desk.repairs.plan_block(called("K1"))):
        entry = desk.repairs.begin(plan)
        desk.repairs.note_failure(entry)
        with pytest.raises(RepairError, match="nothing to undo") as caught:
            desk.repairs.plan_undo(entry.audit_id)
        assert caught.value.reason == RepairReason.NOTHING
    assert sorted(each.action for each in desk.repairs.list_entries()) == ["block", "failed", "failed", "merge"]
    assert desk.repairs.list_blocks() == []
    desk.load(*sign_in("A", "K1", at=hours(5)))
    assert desk.stand() == before


@pytest.mark.long
def test_an_undoing_that_failed_has_undone_nothing(desk: Desk) -> None:
    """Neither readers nor operators are told otherwise; the one that came about counts."""
    two_customers(desk)
    merged = desk.carry_out(desk.repairs.plan_merge(called("K1"), called("K2")))
    failed = desk.repairs.begin(desk.repairs.plan_undo(merged.audit_id))
    desk.repairs.note_failure(failed)
    assert _read_states(desk) == {"merge": ("done", False), "undo": ("failed", False), "failed": ("done", False)}
    desk.undo(merged)
    assert _read_states(desk)["merge"] == ("done", True)


@pytest.mark.parametrize("action", ["merge", "block", "retract"])
@pytest.mark.long
def test_a_change_that_was_cut_off_before_the_spool_stays_open_in_the_log(desk: Desk, action: str) -> None:
    """Whoever wrote the entry was killed: the log says that nothing of it is in the store. Done again, it is."""
    two_customers(desk)

    def plan() -> Plan:
        repairs = desk.repairs
        if action == "merge":
            return repairs.plan_merge(called("K1"), called("K2"))
        return repairs.plan_block(called("K1")) if action == "block" else repairs.plan_retract(Selector(source="tag"))

    desk.repairs.begin(plan())
    assert _read_states(desk) == {action: ("open", False)}
    desk.carry_out(plan())
    # What is taken back is taken back, whoever's word it was.
    states = ["done", "done" if action == "retract" else "open"]
    assert [entry.state for entry in desk.repairs.list_entries()] == states
    assert desk.differs() == 0


def _read_states(desk: Desk) -> dict[str, tuple[str, bool]]:
    """Return state and whether it is undone of the newest entry of each action; the view says the same."""
    found = {entry.action: (entry.state, entry.is_undone) for entry in reversed(desk.repairs.list_entries())}
    rows = desk.store.query("SELECT action, state, is_undone FROM v_audit_log ORDER BY at, audit_id DESC")
    assert {row["action"]: (row["state"], bool(row["is_undone"])) for row in rows} == found
    return found


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.long
def test_what_is_given_back_is_what_stood_where_two_rows_share_an_id(desk: Desk, first: int) -> None:
    """A retry said its evidence otherwise, and both rows are kept; only one of them stood, and that one comes back."""
    (said,) = sign_in("A", "K1", at=hours(1))
    said = msgspec.structs.replace(said, proof="script")
    again = msgspec.structs.replace(said, time_ms=hours(3), session_id=name_value("B"))
    proved = msgspec.structs.replace(said, time_ms=hours(2), proof="cookie")
    rows = [said, again, proved]
    for row in rows if first else rows[::-1]:
        desk.load(row)
    desk.load(events=[("A", hours(at)) for at in (0, 1, 2, 3)])
    before, owners = desk.stand(), desk.owners()
    taken = desk.carry_out(desk.repairs.plan_retract(Selector(ids=(said.evidence_id,))))
    assert desk.stand() != before
    desk.undo(taken)
    assert (desk.stand(), desk.owners()) == (before, owners)
    restored = desk.store.query("SELECT proof FROM identity_evidence WHERE endsWith(evidence_id, '+1')")
    assert [row["proof"] for row in restored] == ["cookie"]


@pytest.mark.long
def test_what_came_though_the_spool_said_no_is_undone(desk: Desk) -> None:
    """A failure may leave open what is on disk: a merge that came all the same is undone, and an undoing that failed
    does not stand in the way of another."""
    two_customers(desk)
    before = desk.stand()
    merged = desk.carry_out(desk.repairs.plan_merge(called("K1"), called("K2")))
    desk.repairs.note_failure(merged)
    failed = desk.repairs.begin(desk.repairs.plan_undo(merged.audit_id))
    desk.repairs.note_failure(failed)
    assert desk.stand() != before
    undone = desk.carry_out(desk.repairs.plan_undo(merged.audit_id))
    assert desk.stand() == before
    with pytest.raises(RepairError, match=undone.audit_id):
        desk.repairs.plan_undo(merged.audit_id)


@pytest.mark.long
def test_a_block_and_a_split_follow_an_identifier_to_its_new_name(desk: Desk) -> None:
    """An e-mail was blocked; then the personal key rotates. Under its new name it ties nobody either."""
    desk.load(*sign_in("A", "K1", "E1", at=hours(1)), events=[("A", hours(2)), ("B", hours(5))])
    entry = do(desk, desk.repairs.plan_block(called("E1")))
    desk.load(*rekey("E1", "E2", at=hours(3)), *sign_in("B", "E2", at=hours(4)))
    assert desk.who("B") == [""]
    assert desk.repairs.explain(called("E2")).is_blocked
    do(desk, desk.repairs.plan_block(called("E2"), blocked=False))
    assert desk.who("B") == ["K1"]
    assert {desk.people()[key(name)] for name in ("E1", "E2", "B", "K1")} == {key("K1")}
    split = do(desk, desk.repairs.plan_split([called("E2"), called("B")]))
    assert len(split.taken_back) == 1
    assert desk.people()[key("A")] == key("K1")
    assert desk.people()[key("B")] == desk.people()[key("E2")] == desk.people()[key("E1")] != key("K1")
    assert entry.blocked == (key("E1"),)


@pytest.mark.long
def test_two_names_are_taken_back_by_their_id_alone(desk: Desk) -> None:
    """A rotation is nobody's observation: taking back a stretch of time leaves it."""
    names = rekey("E1", "E2", at=hours(3))
    desk.load(*names, *sign_in("A", "E1", at=hours(3)))
    assert len(desk.repairs.plan_retract(Selector(from_ms=hours(1))).taken_back) == 1
    assert desk.repairs.plan_retract(Selector(ids=(names[0].evidence_id,))).taken_back == (names[0].evidence_id,)


@pytest.mark.long
def test_evidence_is_taken_back_under_all_names_of_an_identifier(desk: Desk) -> None:
    """A personal key has rotated: whichever name is said, the sign-ins under both are meant, and the names stay."""
    first, second = sign_in("A", "E1", at=hours(1)), sign_in("B", "E2", at=hours(4))
    desk.load(*first, *rekey("E1", "E2", at=hours(3)), *second)
    both = {row.evidence_id for row in (*first, *second)}
    for name in ("E1", "E2"):
        assert {each.evidence_id for each in desk.repairs.explain(called(name)).evidence} >= both
        assert set(desk.repairs.plan_retract(Selector(), called(name)).taken_back) == both
    do(desk, desk.repairs.plan_retract(Selector(), called("E1")))
    assert not {key("A"), key("B")} & desk.people().keys()


@pytest.mark.long
def test_a_blocked_identifier_is_explained_under_all_its_names(desk: Desk) -> None:
    """It has no rows in the map, but what was seen of it by its other name is told, and as refused."""
    first, second = sign_in("A", "E1", at=hours(1)), sign_in("B", "E2", at=hours(4))
    desk.load(*first, *rekey("E1", "E2", at=hours(3)), *second)
    desk.carry_out(desk.repairs.plan_block(called("E1")))
    for name in ("E1", "E2"):
        said = desk.repairs.explain(called(name))
        assert said.is_blocked
        states = {each.evidence_id: (each.state, each.reason) for each in said.evidence if each.kind != "rekey"}
        assert states == {row.evidence_id: ("refused", "blocked") for row in (*first, *second)}
        assert {each.person_id for each in said.identifiers} == {key("E1"), key("E2")}
