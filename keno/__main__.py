"""`python -m keno` is the `keno` command."""

from keno.cli import main

main()
