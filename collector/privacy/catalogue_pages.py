"""The catalogue as papers, in Markdown: the catalogue itself, cookie table, record of processing, draft of a DPIA.

What only the organisation can say is left open, and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from collector.privacy.catalogue import PURPOSES, Category, list_cookies, list_fields
from collector.privacy.catalogue_words import Language
from collector.sites.book import Site

_ASPECTS = ("what", "why", "basis", "source", "recipients", "retention")


def render_catalogue(language: Language, sites: Sequence[Site], receivers: Sequence[str]) -> str:
    """Return every category with its fields, then cookies and retention of each site."""
    labels = language.labels
    lines = [f"# {labels['catalogue']}", ""]
    for category in Category:
        said = language.categories[category]
        purpose = language.purposes[PURPOSES[category]]
        lines += [f"## {said.title}", "", f"- **{labels['purpose']}**: {purpose}"]
        lines += [f"- **{labels[name]}**: {getattr(said, name)}" for name in _ASPECTS]
        rows = [(f"`{one.table}.{one.column}`", one.meaning) for one in list_fields() if one.category is category]
        lines += ["", *_make_table((labels["field"], labels["meaning"]), rows), ""]
    return "\n".join([*lines, *_describe_sites(language, sites), *_describe_receivers(language, receivers)]) + "\n"


def render_cookies(language: Language, sites: Sequence[Site], receivers: Sequence[str]) -> str:
    """Return the table of cookies of each site."""
    lines = [f"# {language.labels['cookies']}", ""]
    for site in sites:
        lines += [f"## {language.labels['site'].format(site=site.site_id)}", "", *_make_cookies(language, site), ""]
    return "\n".join(lines)


def render_record(language: Language, sites: Sequence[Site], receivers: Sequence[str]) -> str:
    """Return the record of processing activities, GDPR Article 30(1)."""
    labels = language.labels
    rows = [
        (said.title, said.why, said.basis, said.recipients, said.retention)
        for said in (language.categories[category] for category in Category)
    ]
    head = (labels["what"], labels["why"], labels["basis"], labels["recipients"], labels["retention"])
    return "\n".join(
        [
            *(
                f"# {labels['record']}",
                "",
                f"## {labels['controller']}",
                "",
                _leave_open(language, labels["controller"]),
            ),
            *("", f"## {labels['subjects']}", "", labels["subjects_are"] + "."),
            *("", f"## {labels['categories']}", "", *_make_table(head, rows)),
            *("", f"## {labels['transfers']}", "", labels["transfers_are"] + ".", ""),
            *_describe_receivers(language, receivers),
            *(f"## {labels['security']}", "", labels["security_is"] + ".", ""),
            *_describe_sites(language, sites),
        ]
    )


def render_dpia(language: Language, sites: Sequence[Site], receivers: Sequence[str]) -> str:
    """Return the draft of a data protection impact assessment, GDPR Article 35(7)."""
    labels = language.labels
    categories = [language.categories[category] for category in Category]
    risks = [tuple(line.split("|")) for line in labels["risk_list"].splitlines()]
    return "\n".join(
        [
            *(f"# {labels['dpia']}", "", _leave_open(language, labels["controller"])),
            *("", f"## {labels['describe']}", "", labels["describe_is"], ""),
            *_make_table((labels["what"], "", labels["why"]), [(one.title, one.what, one.why) for one in categories]),
            *("", *_describe_receivers(language, receivers)),
            *(f"## {labels['necessity']}", "", labels["necessity_is"], ""),
            *_describe_sites(language, sites),
            *(f"## {labels['risks']}", "", *_make_table((labels["risk"], labels["measure"]), risks)),
            *("", _leave_open(language, labels["measures_left"])),
            *("", _leave_open(language, labels["opinion"]), ""),
        ]
    )


PAPERS: dict[str, Callable[[Language, Sequence[Site], Sequence[str]], str]] = {
    "catalogue": render_catalogue,
    "cookies": render_cookies,
    "record": render_record,
    "dpia": render_dpia,
}


def _describe_sites(language: Language, sites: Sequence[Site]) -> list[str]:
    labels = language.labels
    lines = []
    for site in sites:
        lines += [f"## {labels['site'].format(site=site.site_id)}", ""]
        lines += [f"- **{labels['before']}**: {labels[site.consent]}"]
        for name, days in (
            ("events", site.keep_days),
            ("network", site.network_days),
            ("rejected", site.rejected_days),
        ):
            is_for_ever = name == "events" and not days
            said = labels["for_ever"] if is_for_ever else labels["count_days"].format(days=days)
            lines.append(f"- **{labels[name]}**: {said}")
        lines += ["", *_make_cookies(language, site), ""]
    return lines


def _make_cookies(language: Language, site: Site) -> list[str]:
    labels = language.labels
    rows = []
    for one in list_cookies(site):
        days = labels["count_days"].format(days=one.days) if one.days else labels["until_removed"]
        kind = labels[one.kind] + (f", {labels['http_only']}" if one.is_http_only else "")
        rows.append(
            (
                f"`{one.name}`",
                kind,
                labels[one.set_by],
                language.cookies[one.role],
                language.purposes[one.purpose],
                days,
            )
        )
    head = (labels["name"], labels["kind"], labels["set_by"], labels["why"], labels["purpose"], labels["days"])
    return _make_table(head, rows)


def _describe_receivers(language: Language, receivers: Sequence[str]) -> list[str]:
    labels = language.labels
    listed = [f"- {receiver}" for receiver in receivers] or [f"- {labels['none']}"]
    return [f"## {labels['receivers']}", "", *listed, ""]


def _leave_open(language: Language, what: str) -> str:
    return f"> {language.labels['fill_in'].format(what=what)}"


def _make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]
