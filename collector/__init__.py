"""tagstitch: recognise customers across web, e-mail, app, call centre and shop.

The folders read like the way of one event: endpoints → accept → spool → loader → store → identity.
Start with `accept/pipeline.py`, then `store/migrations/`.
"""

__version__ = "0.1.0"
