"""One try of one delivery: a signed POST to the address that the configuration names, and what came back.

The guard of the data adapters judges where the address leads; redirects are not followed, nothing of the environment
(proxies, cookies, netrc) counts, and of an answer a little is read and kept by nobody. Needs httpcore, of the extra
`adapters`.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from collector import __version__
from collector.adapters.address_guard import AddressGuard, Resolve, resolve_name
from collector.errors import AdapterError, AdapterReason, ConfigError
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.signing import sign

if TYPE_CHECKING:
    import httpcore

    from collector.adapters.rest_connections import Connections

ANSWER_BYTES = 65_536
"""Of an answer's body that is read, so that the connection can be used again; of a larger one it is closed."""
LONGEST_WAIT_S = 86_400.0
GONE = 410


class Outcome(msgspec.Struct, frozen=True):
    """What came of a try. `status`: 0 where there was no answer. `reason`: "" where it was taken, else one line without
    anything that the receiver said. `retry_after_s`: what the receiver asks for, 0: nothing. `said`: the beginning of
    its answer, for whoever tries it by hand."""

    status: int = 0
    reason: str = ""
    retry_after_s: float = 0.0
    took_s: float = 0.0
    said: bytes = b""

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == GONE


class Poster:
    """The connections to one receiver, in one event loop."""

    def __init__(
        self,
        config: WebhookConfig,
        keys: Sequence[bytes],
        resolve: Resolve = resolve_name,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: seconds since 1970. Raises ConfigError where the webhook cannot be sent at all."""
        setting = f"webhooks.{config.name}"
        if find_spec("httpcore") is None or find_spec("anyio") is None:
            raise ConfigError(setting, "webhooks", "what they need is missing: pip install 'tagstitch[adapters]'")
        from collector.adapters.rest_connections import Connections  # needs the extra

        context = None
        if config.origin.scheme == "https":
            try:
                context = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
            except (OSError, ssl.SSLError):
                raise ConfigError(f"{setting}.ca_file", str(config.ca_file), "holds no certificates (PEM)") from None
        self._config = config
        self._keys = keys
        self._clock = clock
        guard = AddressGuard(config.origin, config.networks, resolve)
        self._connections: Connections = Connections(guard, context)

    async def post(self, delivery_id: str, body: bytes) -> Outcome:
        """Try it once. Takes `timeout_s` at most; raises nothing but CancelledError."""
        config, began_s = self._config, time.monotonic()
        timestamp_s = int(self._clock())
        headers = {
            "host": config.origin.authority,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": f"tagstitch/{__version__}",
            "webhook-id": delivery_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(self._keys, delivery_id, timestamp_s, body),
        }
        outcome = await self._send(headers, body)
        return msgspec.structs.replace(outcome, took_s=time.monotonic() - began_s)

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def _send(self, headers: dict[str, str], body: bytes) -> Outcome:
        import httpcore

        origin, timeout_s = self._config.origin, self._config.timeout_s
        url = httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=self._config.target.encode("ascii")
        )
        limits = dict.fromkeys(("read", "write"), timeout_s)
        request = httpcore.Request(
            "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": limits}
        )
        ends_s = asyncio.get_running_loop().time() + timeout_s
        outcome, said = None, bytearray()
        try:
            async with asyncio.timeout_at(ends_s), self._connections.send(request, ends_s) as response:
                outcome = self._judge(response)
                async for part in response.aiter_stream():
                    said += part
                    if len(said) > ANSWER_BYTES:
                        break
        except (TimeoutError, httpcore.TimeoutException):
            outcome = outcome or Outcome(reason=f"no answer within {timeout_s:g} s")
        except AdapterError as error:
            outcome = Outcome(reason=_explain(error))
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            # What counts is the status: who said it has the delivery, whatever becomes of the rest of the answer.
            outcome = outcome or Outcome(reason=f"no answer: {type(error).__name__}")
        return msgspec.structs.replace(outcome, said=bytes(said[:ANSWER_BYTES]))

    def _judge(self, response: httpcore.Response) -> Outcome:
        status = response.status
        if 200 <= status < 300:
            return Outcome(status)
        reason = f"status {status}"
        if 300 <= status < 400:
            reason += ": redirects are not followed, name the last address"
        wait_s = 0.0
        if status in (429, 503):
            named = {name.lower(): value for name, value in response.headers}
            text = named.get(b"retry-after", b"").decode("latin-1")
            wait_s = min(_read_retry_after(text, self._clock()), LONGEST_WAIT_S)
        return Outcome(status, reason, wait_s)


def _explain(error: AdapterError) -> str:
    if error.reason is AdapterReason.CONFIG:
        return "its address is not a public one: say allow_private = true if it is meant"
    return str(error)


def _read_retry_after(text: str, now_s: float) -> float:
    """Return seconds; 0 where it does not say."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0
