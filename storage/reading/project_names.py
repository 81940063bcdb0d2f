"""The names of a project's hosts and endpoints, as far as a process has met them.

A name has two numbers: one of this process, and one of the rollups as soon as these know it.
"""

# Method, host and endpoint; the last is None in the name of a host.
Name = tuple[str, str, str | None]


class ProjectNames:
    """Names by their numbers."""

    def __init__(self) -> None:
        self.rolled_up: dict[int, Name] = {}  # by number of the rollups
        self.numbers_rolled_up: dict[int, int] = {}  # by number of this process
        self._names: list[Name] = []  # by number of this process
        self._numbers: dict[Name, int] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._names) + len(self.rolled_up)

    def number_of(self, name: Name) -> int:
        """Return the number of a name in this process."""
        number = self._numbers.setdefault(name, len(self._names))
        if number == len(self._names):
            self._names.append(name)
        return number

    def name_of(self, number: int) -> Name:
        """Return the name that has a number in this process."""
        return self._names[number]
