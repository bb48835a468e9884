"""What it costs to use people: profiles, answers to pages, customer records out of other sources."""
