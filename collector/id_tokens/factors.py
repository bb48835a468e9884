"""How a sign-in was made sure of, as an ID token tells: its methods, and whether they are more than one factor.

Pure. A sign-in has several factors where the issuer says so outright (`mfa` among the methods, a class of sign-in that
means it), or where two methods are of different kinds: something that one knows, has, or is.

Source: RFC 8176 (the values of `amr`); OpenID Connect Core 1.0, section 2 (`acr`, `amr`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_METHODS = 8
_METHOD = re.compile(r"[A-Za-z0-9_.:/-]{1,32}")
_FACTOR_BY_METHOD = {
    **dict.fromkeys(("pwd", "pin", "kba"), "knows"),
    **dict.fromkeys(("otp", "sms", "tel", "hwk", "swk", "sc", "pop"), "has"),
    **dict.fromkeys(("face", "fpt", "iris", "retina", "vbm"), "is"),
}
_MFA = "mfa"
MFA_CLASSES = frozenset(
    (
        "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
        "https://refeds.org/profile/mfa",
        "phr",  # resistant to phishing, by OpenID's EAP profile
        "phrh",  # the same, in hardware
    )
)
"""Values of `acr` that mean several factors wherever they stand. An issuer's own stand in the site's settings."""


def read_methods(claims: Mapping[str, Any]) -> str:
    """Return the methods of a sign-in (`amr`), sorted, a space between; "" where the token names none. What is no
    plain word is left out, and beyond MAX_METHODS everything is."""
    return " ".join(sorted(set(_list_methods(claims)))[:MAX_METHODS])


def is_multi_factor(claims: Mapping[str, Any], own_class: str = "") -> bool:
    """Whether the token speaks of more than one factor. `own_class`: the `acr` by which this issuer says so."""
    methods = _list_methods(claims)
    sign_in_class = claims.get("acr")
    if isinstance(sign_in_class, str) and sign_in_class and sign_in_class in (own_class, *MFA_CLASSES):
        return True
    return _MFA in methods or len({_FACTOR_BY_METHOD[name] for name in methods if name in _FACTOR_BY_METHOD}) > 1


def _list_methods(claims: Mapping[str, Any]) -> list[str]:
    methods = claims.get("amr")
    if not isinstance(methods, list):
        return []
    return [name for name in methods[: 2 * MAX_METHODS] if isinstance(name, str) and _METHOD.fullmatch(name)]
