"""`python -m collector` is `tagstitch`."""

from collector.cli import main

if __name__ == "__main__":
    main()
