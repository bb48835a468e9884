"""The request's facts with the settings that the steps need: a Context made from the process's Config."""

from __future__ import annotations

from dataclasses import dataclass

from collector.event import Context


@dataclass(slots=True, frozen=True)
class EdgeContext(Context):
    """A Context with what stands in the settings of the process."""

    assurance_hours: float = 12.0  # how long a signed identify stays in force
    link_parameter: str = "lt"  # never kept in an address
    may_set_visitor: bool = True  # whether a visitor id that only the request names may be signed into a cookie
