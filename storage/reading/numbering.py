"""The numbers that groups have while they are added up: one for all, that of a step, of a host or of a name."""

from collections.abc import Collection, Mapping, Sequence

from storage.reading.filters import Filter
from storage.reading.parts import GroupBy
from storage.reading.project_names import Name, ProjectNames
from storage.reading.question import Group, Groups, Question
from storage.reading.rollup_parts import (
    StoredGroups,
    find_names,
    find_numbers,
    kinds_of,
    level_of,
    read_names,
)
from storage.reading.sums import Sums
from storage.reading.transaction import Transaction
from storage.rollups.groups import Level


class Numbering:
    """Towards which group a name counts, by its number in the rollups and in this process; None: towards its number."""

    def __init__(self, question: Question, names: ProjectNames) -> None:
        self.of_rollups: Mapping[int, int] | None = None
        self.of_rows: Mapping[int, int] | None = None
        self.others: Collection[int] = ()  # numbers in the rollups of names that may hide what the filter names
        self._question = question
        self._names = names
        self._hosts: dict[str, int] = {}
        self._found: dict[int, Name] = {}

    @classmethod
    async def make(
        cls,
        transaction: Transaction,
        question: Question,
        stored: Sequence[StoredGroups],
        numbers: Collection[int],
    ) -> "Numbering":
        """Return the numbering for stored groups, and for rows whose names have those numbers in this process."""
        rows, names = question.rows, transaction.memory_of(question.rows.project).names
        numbering = cls(question, names)
        level = level_of(rows, question.group_by)
        if level is Level.PROJECT:
            return numbering
        selected: Mapping[int, Name] | None = None
        if _names_any(rows):
            named = await read_names(transaction, rows, level)
            selected = named.selected
            if rows.host is not None or rows.endpoint is not None:
                numbering.others = named.others
        elif question.group_by is GroupBy.HOST:
            selected = await find_names(transaction, rows.project, names, _numbers_in(transaction, rows, stored))
        of_rows = {number: name for number in numbers if _is_selected(rows, name := names.name_of(number))}
        await numbering._number(transaction, selected, of_rows)
        return numbering

    async def _number(
        self, transaction: Transaction, selected: Mapping[int, Name] | None, of_rows: Mapping[int, Name]
    ) -> None:
        if self._question.group_by is GroupBy.PATH:
            project = self._question.rows.project
            known = await find_numbers(transaction, project, self._names, of_rows.keys())
            self.of_rows = {number: known[number] for number in of_rows}
            self._found = {known[number]: name for number, name in of_rows.items()}
            self.of_rollups = None if selected is None else {number: number for number in selected}
        elif self._question.group_by is GroupBy.HOST:
            self.of_rollups = {number: self._number_of_host(name[1]) for number, name in (selected or {}).items()}
            self.of_rows = {number: self._number_of_host(name[1]) for number, name in of_rows.items()}
        else:
            self.of_rollups, self.of_rows = dict.fromkeys(selected or (), 0), dict.fromkeys(of_rows, 0)

    def number_of(self, group: Group) -> int:
        """Return the number of a group that Postgres has made of rows, whose name was among those given."""
        if self._question.group_by is GroupBy.NOTHING:
            return 0
        if self._question.group_by is GroupBy.STEP:
            return int(group[0]) - self._question.first_step
        if self._question.group_by is GroupBy.HOST:
            return self._number_of_host(group[0])
        method, host, endpoint = group
        return (self.of_rows or {})[self._names.number_of((method, host, endpoint))]

    async def named(self, transaction: Transaction, sums: Mapping[int, Sums]) -> Groups:
        """Return groups by what they were made by, not by their number."""
        if self._question.group_by is GroupBy.NOTHING:
            return {group: sums[0] for group in [()] if sums}
        if self._question.group_by is GroupBy.STEP:
            return {(number + self._question.first_step,): of_group for number, of_group in sums.items()}
        if self._question.group_by is GroupBy.HOST:
            hosts = {number: host for host, number in self._hosts.items()}
            return {(hosts[number],): of_group for number, of_group in sums.items()}
        missing = [number for number in sums if number not in self._found]
        names = self._found | await find_names(transaction, self._question.rows.project, self._names, missing)
        return {names[number]: of_group for number, of_group in sums.items()}

    def _number_of_host(self, host: str) -> int:
        return self._hosts.setdefault(host, len(self._hosts))


def _names_any(rows: Filter) -> bool:
    return rows.method is not None or rows.host is not None or rows.endpoint is not None


def _is_selected(rows: Filter, name: Name) -> bool:
    wanted = (rows.method, rows.host, rows.endpoint)
    return all(value in (None, own) for value, own in zip(wanted, name, strict=True))


def _numbers_in(transaction: Transaction, rows: Filter, stored: Sequence[StoredGroups]) -> Sequence[int]:
    totals = transaction.adding.make_totals(kinds_of(rows))
    for _, data in stored:
        totals.add(data, None, None)
    return totals.all()
