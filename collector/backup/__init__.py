"""Backups: the whole store in one sealed file, and bringing it back without whoever was erased since."""
