"""What the public page for objections says, in the languages that it speaks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OptOutText:
    """The sentences of the page."""

    title: str
    is_in: str
    is_out: str
    object: str
    undo: str
    what_title: str
    what: tuple[str, ...]
    how_title: str
    how: tuple[str, ...]
    own_data: str
    refused: str


ENGLISH = OptOutText(
    title="What this site records about visits",
    is_in="Visits with this browser may be recorded here, as far as you have agreed and the law allows.",
    is_out="You have objected. Nothing is recorded of visits with this browser.",
    object="Do not record my visits",
    undo="Take the objection back",
    what_title="What may be recorded",
    what=(
        "which pages were opened and when, and what was done there, such as a search or a purchase",
        "which page or campaign a visit came from",
        "the kind of browser and device, the language, the country and a shortened network address",
        "after signing in or following a personal link: that it was you",
        "only with a consent of its own: technical features that tell this device from others",
    ),
    how_title="How the objection works",
    how=(
        "It is kept in a cookie of this browser (_ts_out) that says nothing but this. The cookies by which visits were "
        "recognised are deleted at once.",
        "Another browser or device does not know of it, and neither does this one after its cookies were deleted: "
        "object there again.",
        "What was recorded earlier is not deleted by it: see it, take it along or have it erased on the page below.",
    ),
    own_data="What is held about you",
    refused="The answer did not come from this page. Open the page itself and try again.",
)

GERMAN = OptOutText(
    title="Was diese Website über Besuche festhält",
    is_in="Besuche mit diesem Browser können hier festgehalten werden, soweit Sie zugestimmt haben und es erlaubt ist.",
    is_out="Sie haben widersprochen. Von Besuchen mit diesem Browser wird nichts festgehalten.",
    object="Meine Besuche nicht festhalten",
    undo="Widerspruch zurücknehmen",
    what_title="Was festgehalten werden kann",
    what=(
        "welche Seiten wann geöffnet wurden und was dort geschah, etwa eine Suche oder ein Kauf",
        "von welcher Seite oder Kampagne ein Besuch kam",
        "die Art von Browser und Gerät, die Sprache, das Land und eine gekürzte Netzadresse",
        "nach einer Anmeldung oder über einen persönlichen Link: dass Sie es waren",
        "nur mit eigener Zustimmung: technische Merkmale, die dieses Gerät von anderen unterscheiden",
    ),
    how_title="Wie der Widerspruch wirkt",
    how=(
        "Er steht in einem Cookie dieses Browsers (_ts_out), das nichts anderes besagt. Die Cookies, an denen Besuche "
        "erkannt wurden, werden sofort gelöscht.",
        "Ein anderer Browser oder ein anderes Gerät weiß nichts davon, und auch dieser nicht mehr, wenn seine Cookies "
        "gelöscht wurden: Widersprechen Sie dann noch einmal.",
        "Was früher festgehalten wurde, wird dadurch nicht gelöscht: Auf der Seite unten können Sie es ansehen, "
        "mitnehmen und löschen lassen.",
    ),
    own_data="Was über Sie gespeichert ist",
    refused="Die Antwort kam nicht von dieser Seite. Öffnen Sie die Seite selbst und versuchen Sie es noch einmal.",
)

TEXTS = {"en": ENGLISH, "de": GERMAN}


def choose_language(accept_language: str) -> str:
    """Return the best-liked language that we speak, by Accept-Language (RFC 9110, 12.5.4); English where none is."""
    best, best_quality = "en", 0.0
    for item in accept_language[:512].lower().split(","):
        tag, _, parameter = item.partition(";")
        language = tag.strip().partition("-")[0]
        try:
            quality = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in TEXTS and quality > best_quality:
            best, best_quality = language, quality
    return best
