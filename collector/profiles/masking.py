"""Masking: as much of a personal value as tells somebody who knows it that it is theirs, and nobody else what it is.

    anna@shop.example    a***@s***.example
    +49 171 2344711      ***4711
    Anna Maria           A*** M***
    1980-05-17, 42, …    ***

What is short is hidden whole. Pure.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
MAX_WORDS = 4
LEAST_DIGITS = 8
"""Of fewer digits the last four would be half of them."""
_MAIL = re.compile(r"([^\s@]+)@([^\s@]+)")
_NUMBER = re.compile(r"[+(]?[\d\s()./-]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d.*", re.DOTALL)


def mask(value: Any) -> str:
    """Return a value of any type masked."""
    if not isinstance(value, str):
        return HIDDEN
    text = value.strip()
    if mail := _MAIL.fullmatch(text):
        name, _, ending = mail[2].rpartition(".")
        return f"{_mask_word(mail[1])}@{_mask_word(name or ending)}" + (f".{ending}" if name else "")
    if _DATE.fullmatch(text):
        return HIDDEN
    if _NUMBER.fullmatch(text):
        digits = re.sub(r"\D", "", text)
        return HIDDEN + digits[-4:] if len(digits) >= LEAST_DIGITS else HIDDEN
    words = text.split()[:MAX_WORDS]
    return " ".join(map(_mask_word, words)) or HIDDEN


def _mask_word(word: str) -> str:
    return word[0] + HIDDEN if len(word) > 1 and word[0].isalpha() else HIDDEN
