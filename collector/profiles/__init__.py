"""Profiles: one person read out of the store: identifiers, facts, traits and timeline, as all known now makes them."""
