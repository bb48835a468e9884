"""The site's own signature under an identify: what a back end computes, checked here. See docs/sign-identify.md.

    signature = "<version>.<expires>.<hex of HMAC-SHA256(secret, site ⏎ kind ⏎ value ⏎ expires)>"

The value is signed exactly as the page sends it. A valid signature says: the site vouches for this customer now.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

from collector.keyring import Keyring
from collector.reasons import Reason
from collector.sites.book import Site

CLOCK_SKEW_S = 60
_FORM = re.compile(r"([1-9][0-9]{0,5})\.([1-9][0-9]{0,11})\.([0-9a-f]{64})")


def sign_identify(secret: str, version: int, site_id: str, kind: str, value: str, expires_s: int) -> str:
    """Return the signature. `secret`: the site's signing secret of this version, 64 hexadecimal digits."""
    text = f"{site_id}\n{kind}\n{value}\n{expires_s}".encode()
    return f"{version}.{expires_s}.{hmac.new(secret.encode(), text, sha256).hexdigest()}"


def check_identify(keyring: Keyring, site: Site, kind: str, value: str, signature: str, now_s: int) -> Reason | None:
    """Return None where the signature is valid, else why not."""
    form = _FORM.fullmatch(signature)
    if form is None or "\n" in kind or "\n" in value:
        return Reason.SIGNATURE
    version, expires_s = int(form.group(1)), int(form.group(2))
    if version not in site.identify_versions:
        return Reason.SIGNATURE
    secret = keyring.derive_identify_secret(site.site_id, version)
    if not hmac.compare_digest(sign_identify(secret, version, site.site_id, kind, value, expires_s), signature):
        return Reason.SIGNATURE
    return None if expires_s + CLOCK_SKEW_S > now_s else Reason.EXPIRED
