"""`python -m ares` is the same program as `ares`."""

from ares.cli import main

if __name__ == "__main__":
    main()
