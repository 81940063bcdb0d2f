"""How long a test waits for an event before it fails: far longer than any takes, also where all cores are busy."""

from typing import Final

PATIENCE_S: Final = 60.0
