"""Step `recognise`: what the request says about browser, system and device, whether a robot sent it, and from where.

Browser and device names follow user-agents' vocabulary, found by ua-parser's engine in Rust. The text is cut at
512 characters and finished answers are kept, because a hostile one costs milliseconds. The address is truncated
here, to /24 or /48, and does not go further.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

import ua_parser
from user_agents import parsers

from collector.accept.minimise import clean_text
from collector.accept.robots import is_crawler
from collector.event import Beacon, Context, Rejected

MAX_USER_AGENT_CHARS = 512

_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}")
COUNTRY = re.compile(r"[A-Z]{2}")


class Client(NamedTuple):
    """What a user agent text says. `robot`: "" or how we know."""

    browser: str
    browser_version: str
    os: str
    os_version: str
    device: str
    robot: str


class _UserAgent(parsers.UserAgent):  # type: ignore[misc]
    """user-agents' classes on the fast parser's result: its own constructor would take a millisecond."""

    def __init__(self, text: str) -> None:
        found = ua_parser.parse(text)
        browser, system, device = found.user_agent, found.os, found.device
        self.ua_string = text
        self.browser = parsers.parse_browser(
            browser.family if browser else "Other",
            *((browser.major, browser.minor, browser.patch) if browser else ()),
        )
        self.os = parsers.parse_operating_system(
            system.family if system else "Other",
            *((system.major, system.minor, system.patch) if system else ()),
        )
        self.device = parsers.parse_device(
            device.family if device else "Other",
            device.brand if device else None,
            device.model if device else None,
        )


def recognise(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Fill in browser, system, device, robot, country and network."""
    row = beacon.row
    client = recognise_client(context.user_agent[:MAX_USER_AGENT_CHARS])
    row.browser, row.browser_version = client.browser, client.browser_version
    row.os, row.os_version, row.device = client.os, client.os_version, client.device
    row.bot_reason = _find_robot(client, beacon.envelope.automation, context)
    row.is_bot = int(bool(row.bot_reason) and not beacon.site.count_automated)
    row.country = context.country if COUNTRY.fullmatch(context.country) else ""
    row.network = truncate_address(context.address) if beacon.site.network_days else ""
    return beacon


def _find_robot(client: Client, automation: int, context: Context) -> str:
    if client.robot:
        return client.robot
    if context.prefetch:
        return "prefetch"
    return "automation" if automation else ""


@lru_cache(maxsize=8192)
def recognise_client(text: str) -> Client:
    """Return what the user agent text says. `text`: at most 512 characters."""
    if not text:
        return Client("Other", "", "Other", "", "other", "no user agent")
    agent = _UserAgent(text)
    if agent.is_tablet:
        device = "tablet"
    elif agent.is_mobile:
        device = "mobile"
    else:
        device = "desktop" if agent.is_pc else "other"
    robot = "spider" if agent.is_bot else "crawler" if is_crawler(text) else ""
    return Client(
        clean_text(agent.browser.family)[:64],  # some rules copy words of the text into the name
        clean_text(agent.browser.version_string)[:32],
        clean_text(agent.os.family)[:64],
        clean_text(agent.os.version_string)[:32],
        device,
        robot,
    )


@lru_cache(maxsize=8192)
def truncate_address(address: str) -> str:
    """Return the network of an address, /24 or /48, or "" where it is no address."""
    if _IPV4.fullmatch(address):
        return f"{address[: address.rindex('.')]}.0/24"
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            return f"{ipaddress.IPv6Address(int(parsed) >> 80 << 80)}/48"
        parsed = mapped
    return f"{ipaddress.IPv4Address(int(parsed) >> 8 << 8)}/24"
