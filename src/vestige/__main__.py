"""`python -m vestige` is the `vestige` command."""

from vestige.cli import main

main()
