"""What pages and files for people say, in the languages that they speak.

To add a language, add a Words and name it in LANGUAGES: a test sees that nothing is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Words:
    """The sentences. `parts`: title and explanation of each part of what is held, by its name."""

    language: str
    title: str
    about: str
    made_on: str
    nothing: str
    rows: str
    more_in_files: str
    contents: str
    files_title: str
    files: str
    identifiers: str
    rights_title: str
    rights: tuple[str, ...]
    kinds: dict[str, str]
    levels: dict[int, str]
    parts: dict[str, tuple[str, str]]


ENGLISH = Words(
    language="en",
    title="What is held about you",
    about="This is everything that is stored here about you: what you did, by what we recognise you and why, what we "
    "concluded from it, and who was told.",
    made_on="Made on {day}",
    nothing="Nothing is stored.",
    rows="{count} entries",
    more_in_files="The first {shown} of {count} entries; all of them are in the files {name}.jsonl and {name}.csv.",
    contents="Contents",
    files_title="The files beside this page",
    files="Each part is there twice: as JSON, one entry on a line, for programs, and as CSV for spreadsheets. "
    "dictionary.csv says what each column means.",
    identifiers="By what we recognise you",
    rights_title="What you may ask for",
    rights=(
        "to have what is wrong corrected",
        "to have it erased, or its use restricted",
        "to object to its use, and to take a consent back at any time",
        "to take it to somebody else: that is what the files are for",
        "to complain to a data protection authority",
    ),
    kinds={"visitor": "a browser or an app", "customer": "customer number", "email": "e-mail address"},
    levels={
        0: "a guess by features of the device",
        1: "a page said so, unproved",
        2: "you followed a link that was sent to you",
        3: "you signed in",
        4: "our own systems said so",
    },
    parts={
        "identifiers": ("By what we recognise you", "Browsers, numbers and addresses that we take to be yours."),
        "traits": ("What we know of you", "Values that pages, our systems or our staff have noted about you."),
        "events": ("What you did", "Pages, purchases and other events, with where they came from."),
        "links_between_identifiers": (
            "Why we think that it is you",
            "Each observation that tied two identifiers: a sign-in, a link, a call. Level: how sure it was.",
        ),
        "consents": ("What you consented to", "What was granted, refused or taken back, when, where and how."),
        "audiences": ("Groups you entered and left", "Groups of customers that you were counted among, and why."),
        "audiences_now": ("Groups you are in", "Groups of customers that you are counted among now."),
        "offers": ("Offers", "Offers that were shown to you, or deliberately not, and those that you clicked."),
        "recipients": ("Who was told", "Other systems that heard that you entered or left a group."),
        "looked_at_by": ("Who looked", "Looks of our staff and programs at your profile."),
        "records_of_other_systems": (
            "Our other systems",
            "Systems from which a record about you was copied; its values are among what we know of you.",
        ),
        "refused_evidence": ("What we did not believe", "Observations that were refused, and why."),
        "states": ("Restrictions", "Whether the use of your data is restricted."),
    },
)

GERMAN = Words(
    language="de",
    title="Was über Sie gespeichert ist",
    about="Das ist alles, was hier über Sie gespeichert ist: was Sie getan haben, woran wir Sie erkennen und warum, "
    "was wir daraus geschlossen haben und wer davon erfahren hat.",
    made_on="Erstellt am {day}",
    nothing="Nichts ist gespeichert.",
    rows="{count} Einträge",
    more_in_files="Die ersten {shown} von {count} Einträgen; alle stehen in den Dateien {name}.jsonl und {name}.csv.",
    contents="Inhalt",
    files_title="Die Dateien neben dieser Seite",
    files="Jeder Teil liegt doppelt bei: als JSON, ein Eintrag je Zeile, für Programme, und als CSV für "
    "Tabellenprogramme. dictionary.csv sagt, was jede Spalte bedeutet.",
    identifiers="Woran wir Sie erkennen",
    rights_title="Was Sie verlangen können",
    rights=(
        "dass Falsches berichtigt wird",
        "dass es gelöscht oder seine Nutzung eingeschränkt wird",
        "Sie können seiner Nutzung widersprechen und eine Einwilligung jederzeit widerrufen",
        "Sie können es zu jemand anderem mitnehmen: dafür sind die Dateien da",
        "Sie können sich bei einer Datenschutzaufsicht beschweren",
    ),
    kinds={"visitor": "ein Browser oder eine App", "customer": "Kundennummer", "email": "E-Mail-Adresse"},
    levels={
        0: "nach Merkmalen des Geräts vermutet",
        1: "eine Seite hat es gesagt, ohne Beleg",
        2: "Sie sind einem Link gefolgt, der an Sie ging",
        3: "Sie haben sich angemeldet",
        4: "unsere eigenen Systeme haben es gesagt",
    },
    parts={
        "identifiers": ("Woran wir Sie erkennen", "Browser, Nummern und Adressen, die wir für Ihre halten."),
        "traits": ("Was wir von Ihnen wissen", "Was Seiten, unsere Systeme oder unsere Leute über Sie notiert haben."),
        "events": ("Was Sie getan haben", "Seiten, Käufe und andere Ereignisse, und woher Sie kamen."),
        "links_between_identifiers": (
            "Warum wir glauben, dass Sie es sind",
            "Jede Beobachtung, die zwei Kennungen verband: eine Anmeldung, ein Link, ein Anruf. Level: wie sicher.",
        ),
        "consents": (
            "Worin Sie eingewilligt haben",
            "Was erteilt, verweigert oder widerrufen wurde, wann, wo und wie.",
        ),
        "audiences": ("Gruppen, in die Sie kamen", "Gruppen von Kunden, zu denen Sie gezählt wurden, und warum."),
        "audiences_now": ("Gruppen, in denen Sie sind", "Gruppen von Kunden, zu denen Sie jetzt gezählt werden."),
        "offers": ("Angebote", "Angebote, die Ihnen gezeigt oder bewusst nicht gezeigt wurden, und Ihre Klicks."),
        "recipients": ("Wer davon erfahren hat", "Andere Systeme, die von Gruppen erfuhren, in die Sie kamen."),
        "looked_at_by": ("Wer hingesehen hat", "Blicke unserer Leute und Programme auf Ihr Profil."),
        "records_of_other_systems": (
            "Unsere anderen Systeme",
            "Systeme, aus denen ein Datensatz über Sie kopiert wurde; seine Werte stehen bei dem, was wir wissen.",
        ),
        "refused_evidence": ("Was wir nicht geglaubt haben", "Beobachtungen, die abgelehnt wurden, und warum."),
        "states": ("Einschränkungen", "Ob die Nutzung Ihrer Daten eingeschränkt ist."),
    },
)

LANGUAGES = {words.language: words for words in (ENGLISH, GERMAN)}
"""By their code; the first is for everybody else."""


def list_sentences(words: Words) -> set[str]:
    """Return the places of all sentences, for a test that compares languages."""
    found: set[str] = set()
    for field in fields(words):
        value = getattr(words, field.name)
        found |= {f"{field.name}.{key}" for key in value} if isinstance(value, dict) else {field.name}
    return found
