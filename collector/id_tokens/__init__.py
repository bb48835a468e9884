"""Tokens by which somebody vouches for a customer: an issuer's ID token (OpenID Connect), or a site's own JWT.

check        one token, judged: who vouches for whom, or why it does not count; pure
factors      how a sign-in was made sure of
keys         the issuers' public keys, as one web process knows them
fetch        an issuer's keys over HTTPS, with bounds
poll         keeps the keys fresh, with a copy on disk
"""
