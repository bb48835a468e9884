"""Who followed a link: a human, or a program that looks at mails before and beside them. Pure.

Mail scanners, link previews and browsers that fetch ahead ask for links as people do. So a click has a class, with the
words that spoke for it. The first line that holds gives the class:

    class      reason            what was seen
    prefetch   prefetch_header   Sec-Purpose, Purpose, X-Purpose or X-Moz says that it is fetched ahead
    preview    preview_agent     a program that draws a preview for a chat or a social network
    preview    apple_privacy     a picture asked for by Apple's Mail Privacy Protection, whether the mail is read or not
    preview    image_proxy       a picture asked for by a mail service on behalf of who reads
    scanner    agent             the name of a known mail scanner, or no name at all
    bot        crawler           a name on the list of crawlers
    bot        automation        the browser says that a program drives it
    scanner    head              HEAD: somebody looks at the address and not at the page
    scanner    data_centre       an address of a data centre, where a list of them is given
    scanner    two of the hints below
    human      at most one of the hints, which is kept as the reason

    hint       soon              within `link_soon_s` of the end of the minute in which it was sent
    hint       many              `link_many_recipients` recipients of one campaign from one address in ten minutes
    hint       no_script         the page was loaded without script
    hint       dwell             nothing but time on the page: no pointer, key or touch

A hint alone proves nothing: an office has one address, and who waits for a mail opens it at once. What this cannot
tell from a person is a scanner that loads the page in a real browser, under a browser's name, from a house's address,
and moves the mouse.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

SENT_MINUTE_S = 60
"""A token's time of issue is cut to the minute: the mail went out within a minute from then."""


class LinkClass(StrEnum):
    """Who followed a link."""

    HUMAN = "human"
    SCANNER = "scanner"
    PREFETCH = "prefetch"
    PREVIEW = "preview"
    BOT = "bot"


class Look(StrEnum):
    """What was seen of a request, in the words that are kept."""

    PREFETCH_HEADER = "prefetch_header"
    PREVIEW_AGENT = "preview_agent"
    APPLE_PRIVACY = "apple_privacy"
    IMAGE_PROXY = "image_proxy"
    AGENT = "agent"
    CRAWLER = "crawler"
    AUTOMATION = "automation"
    HEAD = "head"
    DATA_CENTRE = "data_centre"
    SOON = "soon"
    MANY = "many"
    NO_SCRIPT = "no_script"
    DWELL = "dwell"


CLASS_BY_LOOK = {
    Look.PREFETCH_HEADER: LinkClass.PREFETCH,
    Look.PREVIEW_AGENT: LinkClass.PREVIEW,
    Look.APPLE_PRIVACY: LinkClass.PREVIEW,
    Look.IMAGE_PROXY: LinkClass.PREVIEW,
    Look.AGENT: LinkClass.SCANNER,
    Look.CRAWLER: LinkClass.BOT,
    Look.AUTOMATION: LinkClass.BOT,
    Look.HEAD: LinkClass.SCANNER,
    Look.DATA_CENTRE: LinkClass.SCANNER,
}
"""What decides alone, the strongest first. All other looks are hints."""

# What stands in the user agent of those that follow the links of mails to judge them. Most products ask under a
# browser's name nowadays; these are the names that some of them give.
SCANNER_AGENTS = {
    "Barracuda": r"Barracuda",
    "Mimecast": r"Mimecast",
    "Proofpoint": r"Proofpoint|URLDefense|PPoint",
    "Microsoft Defender, Safe Links": r"SafeLinks|MSOffice365|Microsoft-Defender|WindowsDefender|EOPUrlScan",
    "Symantec, Broadcom": r"Symantec|MessageLabs|BlueCoat",
    "Cisco": r"Cisco|IronPort|OpenDNS|Umbrella",
    "Trend Micro": r"Trend ?Micro|TMUFE|InterScan",
    "Sophos": r"Sophos|Reflexion",
    "Forcepoint": r"Forcepoint|Websense",
    "Fortinet": r"Forti(?:Mail|Guard|Sandbox)",
    "Check Point": r"Check ?Point|Avanan",
    "Trellix, McAfee": r"Trellix|McAfee|FireEye",
    "Kaspersky": r"Kaspersky",
    "ESET": r"\bESET\b",
    "Bitdefender": r"Bitdefender",
    "VirusTotal, urlscan": r"VirusTotal|urlscan",
    "Netcraft": r"Netcraft",
    "Palo Alto": r"Palo ?Alto|WildFire|Cortex",
    "Zscaler": r"Zscaler",
    "Spamhaus, others": r"Spamhaus|SpamAssassin|Rspamd|Vade ?(?:Secure|Retro)|Hornetsecurity|AntiSpam|MailScanner",
    "Google's check of links": r"Google-Safety|GoogleSafeBrowsing",
}
# Of previews only what says so: the browsers inside of Pinterest's or Snapchat's app name these too, and are people.
PREVIEW_AGENTS = {
    "Slack": r"Slackbot|Slack-ImgProxy",
    "WhatsApp": r"WhatsApp",
    "Facebook, Instagram": r"facebookexternalhit|facebookcatalog|Facebot|meta-externalfetcher",
    # iMessage asks as Facebook's and Twitter's program at once, behind an old Safari's name.
    "Twitter, X": r"Twitterbot",
    "Telegram": r"TelegramBot",
    "LinkedIn": r"LinkedInBot",
    "Skype, Teams": r"SkypeUriPreview|MicrosoftPreview|Microsoft-?Teams",
    "Discord": r"Discordbot",
    "Viber, Line, Kakao": r"^Viber|Line(?:bot|-Poker)|kakaotalk-scrap",
    "Pinterest, Reddit, Tumblr": r"Pinterestbot|pinterest\.com/bot|redditbot|Tumblr/",
    "Mastodon, Bluesky": r"Mastodon/|Bluesky Cardyb|http\.rb/",
    "Google's previews": r"Google-PageRenderer|Google Web Preview|GoogleMessages|Google-InspectionTool",
    "Microsoft Office, which looks before it opens": r"ms-office|Microsoft Office (?:Existence|Protocol) Discovery",
    "Others": r"Embedly|Iframely|Snap URL Preview|vkShare|W3C_Validator|Zoom-?Bot|bitlybot|Outlook-Link-?Preview",
}
IMAGE_PROXIES = {
    "Gmail": r"GoogleImageProxy|ggpht\.com",
    "Yahoo": r"YahooMailProxy",
    "Others": r"(?:Image|Mail|Img)-?Proxy",
}
APPLE_PRIVACY_AGENT = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says about itself."""

_SCANNER = re.compile("|".join(SCANNER_AGENTS.values()), re.I)
_PREVIEW = re.compile("|".join(PREVIEW_AGENTS.values()), re.I)
_PROXY = re.compile("|".join(IMAGE_PROXIES.values()), re.I)


class Seen(NamedTuple):
    """What was seen of a request. `robot`: "", or how `accept.recognise` knows one; see there."""

    user_agent: str = ""
    robot: str = ""
    is_head: bool = False
    is_picture: bool = False
    is_prefetch: bool = False
    is_automated: bool = False
    is_data_centre: bool = False
    is_soon: bool = False
    is_many: bool = False
    is_scriptless: bool = False
    is_dwell: bool = False


class Classed(NamedTuple):
    """A class and the words that spoke for it, the strongest first."""

    link_class: LinkClass
    reasons: tuple[Look, ...]


def class_click(seen: Seen) -> Classed:
    """Return who followed a link, by the table in the module's head."""
    looks = _list_looks(seen)
    decides = next((CLASS_BY_LOOK[look] for look in looks if look in CLASS_BY_LOOK), None)
    if decides is None:
        decides = LinkClass.SCANNER if len(looks) >= 2 else LinkClass.HUMAN
    return Classed(decides, looks)


def is_soon(issued_s: int, now_s: int, soon_s: int) -> bool:
    """Whether a link is followed within `soon_s` of the end of the minute in which it was sent; 0: never."""
    return bool(soon_s) and now_s < issued_s + SENT_MINUTE_S + soon_s


def _list_looks(seen: Seen) -> tuple[Look, ...]:
    agent = read_agent(seen.user_agent)
    held = (
        (Look.PREFETCH_HEADER, seen.is_prefetch),
        (Look.PREVIEW_AGENT, agent.is_preview and not seen.is_picture),
        (Look.APPLE_PRIVACY, agent.is_apple and seen.is_picture),
        (Look.IMAGE_PROXY, agent.is_proxy and seen.is_picture),
        (Look.AGENT, agent.is_scanner),
        (Look.CRAWLER, bool(seen.robot)),
        (Look.AUTOMATION, seen.is_automated),
        (Look.HEAD, seen.is_head),
        (Look.DATA_CENTRE, seen.is_data_centre),
        (Look.SOON, seen.is_soon),
        (Look.MANY, seen.is_many),
        (Look.NO_SCRIPT, seen.is_scriptless),
        (Look.DWELL, seen.is_dwell),
    )
    return tuple(look for look, holds in held if holds)


class Agent(NamedTuple):
    """What a user agent's text says of who follows links."""

    is_preview: bool
    is_apple: bool
    is_proxy: bool
    is_scanner: bool


@lru_cache(maxsize=8192)
def read_agent(text: str) -> Agent:
    """Return what the text says. Looking for all the names takes 80 µs: answers are kept."""
    return Agent(
        is_preview=_PREVIEW.search(text) is not None,
        is_apple=text.strip() == APPLE_PRIVACY_AGENT,
        is_proxy=_PROXY.search(text) is not None,
        is_scanner=not text.strip() or _SCANNER.search(text) is not None,
    )
