"""Audiences: groups of people that the configuration declares, and who is in them now.

configuration, compile    what `use.toml` says, and the statements that it becomes
judging_loop, role        the role `activate`: who is judged anew, and when
judging, changes          what differs, and how it is written
following                 what was touched since
"""
