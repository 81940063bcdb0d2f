"""A worker that cannot be imported."""

raise ImportError("no such part")
