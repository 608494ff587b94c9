"""How long tests wait for what takes a second or two on an idle machine."""

from typing import Final

PATIENCE_SECONDS: Final = 120.0
"""That it takes longer than it should is no failure, and is for the bench to say; that it never comes is."""
