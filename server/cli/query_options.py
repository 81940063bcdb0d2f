"""Flags of the commands that ask: which requests, and of which time."""

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from google.protobuf.message import Message

from server.cli.options import Command
from server.contract.rules import Violation
from server.query.parameters import FILTERS, Parameter

Request = TypeVar("Request", bound=Message)

_SPAN = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType[timedelta]):
    """A span of time, such as 15m."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the span that a text stands for."""
        if isinstance(value, timedelta):
            return value
        match = _SPAN.fullmatch(value)
        if match is None or int(match[1]) == 0:
            self.fail("must be a number and a unit, such as 30s, 15m, 24h or 7d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


class _Value(click.ParamType[Any]):
    """A value that the rule of a parameter admits."""

    name = "value"

    def __init__(self, parameter: Parameter) -> None:
        self._rule = parameter.rule

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parsed = self._rule.parse(str(value))
        if isinstance(parsed, Violation):
            self.fail(parsed.message, param, ctx)
        return parsed


def with_filters(command: Command) -> Command:
    """Give a command a flag for each filter of queries, and call it with `filters`, those that are given."""

    @functools.wraps(command)
    def call(**arguments: Any) -> Any:
        values = {parameter.name: arguments.pop(parameter.name) for parameter in FILTERS}
        return command(filters={name: value for name, value in values.items() if value is not None}, **arguments)

    for parameter in reversed(FILTERS):
        flag = f"--{parameter.name.replace('_', '-')}"
        metavar = "|".join(parameter.rule.schema.get("enum", ())) or None
        option = click.option(
            flag, parameter.name, type=_Value(parameter), metavar=metavar, help=parameter.description.replace("`", "")
        )
        call = option(call)
    return call  # type: ignore[return-value]


def last_option(default: str) -> Callable[[Command], Command]:
    """Return the flag for how far back a query reaches; its value is a timedelta."""
    return click.option(
        "--last",
        type=Span(),
        default=default,
        show_default=True,
        metavar="SPAN",
        help="How far back, as 30s, 15m, 24h or 7d.",
    )


def to_request(kind: type[Request], last: timedelta, **fields: Any) -> Request:
    """Return a request about a span of time that ends now. Raises click.BadParameter."""
    request = kind(**fields)
    try:
        getattr(request, "from").FromDatetime(datetime.now(UTC) - last)
    except OverflowError:
        raise click.BadParameter("--last reaches back too far") from None
    return request
