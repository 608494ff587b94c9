"""``python -m portcullis``."""

from portcullis.cli.main import main

main()
