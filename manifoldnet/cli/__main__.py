"""``python -m manifoldnet.cli``."""

from manifoldnet.cli import main

main()
