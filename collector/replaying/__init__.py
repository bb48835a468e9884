"""Sending refused beacons through the accept path again, after what they were refused for has been mended."""
