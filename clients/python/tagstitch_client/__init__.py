"""Send events from a server to tagstitch, and have tagged links made.

    from tagstitch_client import Client

    client = Client("https://collector.shop.example", key="ts_…")
    client.track("Order completed", user_id="4711", properties={"price": 49.9})
    client.identify("4711", anonymous_id=visitor_id, traits={"plan": "gold"})
    client.close()

Needs nothing but the standard library. See docs/server-events.md.
"""

from tagstitch_client.client import Client
from tagstitch_client.delivery import Problem, Receipt
from tagstitch_client.links import Link, LinksError

__all__ = ["Client", "Link", "LinksError", "Problem", "Receipt"]
__version__ = "0.1.0"
