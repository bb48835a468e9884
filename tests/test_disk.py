"""What the process asks of the system."""

from __future__ import annotations

import resource
import subprocess
import sys

CODE = """
import resource
from collector import disk
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
disk.allow_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_as_many_files_as_the_system_allows() -> None:
    """A low limit of the shell is raised to the one that the system sets, which stays as it is."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    assert done.stdout.strip() == str((wanted, hard))
