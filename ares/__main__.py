"""`python -m ares` is the same program as `ares`."""

from ares.cli import main

main()
