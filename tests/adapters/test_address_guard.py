"""Where an adapter may connect to: forms of addresses, ranges, and names that mean another machine the second time."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.adapters.address_guard import (
    RESOLVED_S,
    AddressGuard,
    Origin,
    Standing,
    judge_address,
    parse_base,
    parse_networks,
)
from collector.errors import AdapterError, AdapterReason

EVERYTHING = parse_networks(("0.0.0.0/0", "::/0"))
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fe80::a9fe:a9fe")


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07::1", "64:ff9b::8.8.8.8"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert judge_address(address) is Standing.PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
        *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "198.18.0.1"),
        *("192.0.2.1", "198.51.100.1", "203.0.113.1", "192.0.0.192", "192.88.99.1", *METADATA),
        *("::", "::1", "::7f00:1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
        *("2002:7f00:1::1", "2002:808:808::1", "2001:0:1::1", "2606:2800::5efe:10.0.0.1", "100::1", "5f00::1"),
        *("4000::1", "fe80::1%eth0", "2606:2800::1%1", "", "localhost", "127.1", "0x7f000001", "2130706433"),
    ],
)
def test_others_may_not(address: str) -> None:
    """Private, local, reserved, carried within other addresses, or none at all."""
    assert judge_address(address) is Standing.REFUSED


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1", "::1/128"),
        ("fd12::1", "fd12::/16"),
        ("100.64.1.1", "100.64.0.0/10"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("8.8.8.8", "8.8.8.0/24"),
    ],
)
def test_the_configuration_lets_its_own_networks_through(address: str, network: str) -> None:
    """Those, in whatever form the address comes, and no others."""
    allowed = parse_networks([network])
    assert judge_address(address, allowed) is Standing.ALLOWED
    assert judge_address("192.168.7.7", allowed) is Standing.REFUSED


@pytest.mark.parametrize("address", [*METADATA, "169.254.1.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1"])
def test_some_are_never_reached(address: str) -> None:
    """Not even where the configuration names everything."""
    assert judge_address(address, EVERYTHING) is Standing.REFUSED


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_is_public_is_global(address: IPv4Address | IPv6Address) -> None:
    """By the standard library's own table, whose word is not enough, but holds."""
    if judge_address(str(address)) is Standing.PUBLIC:
        assert address.is_global
        assert not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_judged_as_that(address: IPv4Address) -> None:
    """Mapped and NAT64 addresses are the other family's; 6to4 and compatible ones are not reached at all."""
    number = int(address)
    plain = judge_address(str(address))
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert judge_address(str(IPv6Address(prefix | number))) is plain
    assert judge_address(str(IPv6Address((0x2002 << 112) | (number << 80) | 1))) is Standing.REFUSED
    if number > 1:
        assert judge_address(str(IPv6Address(number)), EVERYTHING) is Standing.REFUSED


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://crm.example", Origin("https", "crm.example", 443), ""),
        ("https://CRM.Example:8443/api/v2", Origin("https", "crm.example", 8443), "/api/v2"),
        ("http://10.0.0.7/", Origin("http", "10.0.0.7", 80), "/"),
        ("https://[FD12::1]:444/x", Origin("https", "fd12::1", 444), "/x"),
        ("https://xn--bcher-kva.example/", Origin("https", "xn--bcher-kva.example", 443), "/"),
        ("http://crm_internal/", Origin("http", "crm_internal", 80), "/"),
    ],
)
def test_a_base_url_is_taken_apart(url: str, origin: Origin, path: str) -> None:
    assert parse_base(url) == (origin, path)


def test_the_host_header_is_the_name() -> None:
    """With the port where it is not the scheme's own."""
    assert Origin("https", "crm.example", 443).authority == "crm.example"
    assert Origin("http", "crm.example", 443).authority == "crm.example:443"
    assert Origin("https", "fd12::1", 8443).authority == "[fd12::1]:8443"


@pytest.mark.parametrize(
    "url",
    [
        *("", "crm.example", "//crm.example/", "ftp://crm.example/", "file:///etc/passwd", "gopher://crm.example/"),
        *("unix:///run/docker.sock", "javascript:alert(1)", "data:text/plain,x", "https:/crm.example", "https://"),
        *("https://user:secret@crm.example/", "https://crm.example@10.0.0.1/", "https://@crm.example/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"),
        *("https://127.0.0.1./", "https://crm.example./", "https://crm..example/", "https://.example/", "https://1/"),
        *("https://10.0.0.256/", "https://10.0.0.0x1/", "https://crm.example.7/", "https://0x/"),
        *("https://crm.example:0/", "https://crm.example:65536/", "https://crm.example:-1/", "https://crm.example:x/"),
        *("https://crm.example:/", "https://crm.example:80:80/", "https://[::1/", "https://::1/", "https://[::1%25x]/"),
        *("https://[127.0.0.1]/", "https://[fe80::1%eth0]/", "https://[]/"),
        *(
            "https://crm.example\\@10.0.0.1/",
            "https://crm.example /",
            "https://crm.example\t/",
            "https://crm\r\n.example/",
        ),
        *("https://crm.example/\x00", "https://bücher.example/", "https://①②⑦.0.0.1/", "https://127。0。0。1/"),
        *("https://crm.example?x=1", "https://crm.example/#x", "https://crm.example#@10.0.0.1/", "https://-a.example/"),
        *("https://crm%2eexample/", "https://crm.example%00.evil/", "https://*/", "https://" + "a" * 64 + ".example/"),
    ],
)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    """One machine has one spelling; what parsers read differently is no address here."""
    with pytest.raises(ValueError):
        parse_base(url)


@given(st.text(max_size=30), st.sampled_from(("https://", "http://", "https://crm.example", "")))
def test_a_base_url_is_a_name_or_an_address(text: str, begin: str) -> None:
    """Whatever it is made of: what is let through has a host that needs no further reading."""
    try:
        origin, path = parse_base(begin + text)
    except ValueError:
        return
    assert origin.scheme in ("http", "https")
    assert 1 <= origin.port <= 65_535
    assert set(origin.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_:")
    assert path == "" or path.startswith("/")
    if ":" in origin.host or origin.host.rpartition(".")[2].isdigit():
        assert str(ip_address(origin.host)) == origin.host


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "crm.example", "10.*", ""])
def test_a_network_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(ValueError):
        parse_networks([text])


class Resolver:
    """Gives one answer after another, and counts."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_guard(
    resolver: Resolver, clock: Clock | None = None, networks: tuple[str, ...] = (), scheme: str = "https"
) -> AddressGuard:
    origin = Origin(scheme, "crm.example", 443)
    return AddressGuard(origin, parse_networks(networks), resolver, clock or Clock())


def test_a_name_is_resolved_once_for_a_while() -> None:
    """All that ask at once wait for one answer; it holds for its time."""

    async def story() -> None:
        resolver, clock = Resolver(["8.8.8.8", "2606:2800::1"], ["9.9.9.9"]), Clock()
        guard = make_guard(resolver, clock)
        found = await asyncio.gather(*(guard.find_addresses() for _ in range(20)))
        assert set(found) == {("8.8.8.8", "2606:2800::1")}
        assert resolver.asked == [("crm.example", 443)]
        clock.now_s = RESOLVED_S - 0.1
        assert await guard.find_addresses() == found[0]
        clock.now_s = RESOLVED_S
        assert await guard.find_addresses() == ("9.9.9.9",)
        guard.close()

    asyncio.run(story())


def test_a_name_that_turns_private_is_refused() -> None:
    """The second answer is judged like the first, and a refusal is not kept."""

    async def story() -> None:
        clock = Clock()
        guard = make_guard(Resolver(["8.8.8.8"], ["169.254.169.254"], ["8.8.8.8"]), clock)
        await guard.find_addresses()
        clock.now_s = RESOLVED_S
        with pytest.raises(AdapterError) as caught:
            await guard.find_addresses()
        assert caught.value.reason is AdapterReason.CONFIG
        assert "169.254" not in str(caught.value)
        assert await guard.find_addresses() == ("8.8.8.8",)
        guard.close()

    asyncio.run(story())


@pytest.mark.parametrize("bad", ["10.0.0.1", "127.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254"])
def test_one_refused_address_refuses_all(bad: str) -> None:
    """A name that is public and private at once is not half believed."""

    async def story() -> None:
        guard = make_guard(Resolver(["8.8.8.8", bad]))
        with pytest.raises(AdapterError) as caught:
            await guard.find_addresses()
        assert caught.value.reason is AdapterReason.CONFIG
        guard.close()

    asyncio.run(story())


def test_without_encryption_only_inside() -> None:
    """http leaves the networks that the configuration names by no way."""

    async def story() -> None:
        inside = make_guard(Resolver(["10.0.0.1"]), networks=("10.0.0.0/8",), scheme="http")
        assert await inside.find_addresses() == ("10.0.0.1",)
        for answer in (["8.8.8.8"], ["10.0.0.1", "8.8.8.8"]):
            outside = make_guard(Resolver(answer), networks=("10.0.0.0/8",), scheme="http")
            with pytest.raises(AdapterError) as caught:
                await outside.find_addresses()
            assert caught.value.reason is AdapterReason.CONFIG
            outside.close()
        inside.close()

    asyncio.run(story())


@pytest.mark.parametrize("answer", [OSError("no such host"), UnicodeError("label too long"), []])
def test_a_name_that_nobody_knows(answer: list[str] | Exception) -> None:
    """It may be known later."""

    async def story() -> None:
        guard = make_guard(Resolver(answer, ["8.8.8.8"]))
        with pytest.raises(AdapterError) as caught:
            await guard.find_addresses()
        assert caught.value.reason is AdapterReason.UNREACHABLE
        assert await guard.find_addresses() == ("8.8.8.8",)
        guard.close()

    asyncio.run(story())


def test_a_resolver_that_hangs_takes_one_thread() -> None:
    """Who waits can give up; the next one waits for the same answer and starts no other."""

    async def story() -> None:
        ended = threading.Event()
        asked = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append(host)
            ended.wait(60)
            return ["8.8.8.8"]

        guard = AddressGuard(Origin("https", "crm.example", 443), (), resolve)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await guard.find_addresses()
        assert asked == ["crm.example"]
        ended.set()
        assert await guard.find_addresses() == ("8.8.8.8",)
        assert asked == ["crm.example"]
        guard.close()

    asyncio.run(story())


def test_an_address_needs_no_resolver() -> None:
    """It is judged all the same."""

    async def story() -> None:
        resolver = Resolver(["8.8.8.8"])
        for host, networks, fits in (
            ("9.9.9.9", (), True),
            ("127.0.0.1", (), False),
            ("127.0.0.1", ("127.0.0.0/8",), True),
        ):
            guard = AddressGuard(Origin("https", host, 443), parse_networks(networks), resolver)
            if fits:
                assert await guard.find_addresses() == (host,)
            else:
                with pytest.raises(AdapterError):
                    await guard.find_addresses()
            guard.close()
        assert resolver.asked == []

    asyncio.run(story())
