"""The two things that a site does on its server for us: sign who is signed in, and mint the links of a mail.

The signature is the one of docs/sign-identify.md, and the collector checks it like any other site's.
"""

from __future__ import annotations

from collector.config import Config
from collector.console.catalogue import SITE_ID, DemoCustomer
from collector.keyring import Keyring
from collector.links.minting import mint_link
from collector.links.targets import add_token
from collector.signing import sign_identify

IDENTIFY_VERSION = 1
SIGNATURE_AGE_S = 3600
LINK_DAYS = 30


def sign_customer(keyring: Keyring, customer: DemoCustomer, now_s: float) -> str:
    """Return the signature with which the shop vouches for a signed-in customer. In force for an hour."""
    secret = keyring.derive_identify_secret(SITE_ID, IDENTIFY_VERSION)
    return sign_identify(
        secret, IDENTIFY_VERSION, SITE_ID, "customer", customer.customer_id, int(now_s) + SIGNATURE_AGE_S
    )


def mint_mail_link(
    config: Config, keyring: Keyring, url: str, customer: DemoCustomer, campaign: str, now_s: float
) -> str:
    """Return the address of the mail's button: tagged for this customer, in force for a month."""
    token = mint_link(
        keyring, customer.customer_id, now_s=int(now_s), days=LINK_DAYS, campaign=campaign, message="letter-1"
    )
    labelled = f"{url}?utm_source=letter&utm_medium=email&utm_campaign={campaign}"
    return add_token(labelled, token, config.link_parameter)
