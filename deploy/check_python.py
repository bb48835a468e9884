"""Says in one line why this Python will not do. Runs on any Python 3."""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "tagstitch needs Python 3.11 or newer, this is %d.%d: install it and run again with  make run PYTHON=python3.11"
        % sys.version_info[:2]
    )
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("Python's venv module is missing: on Debian or Ubuntu  sudo apt-get install python3-venv")
