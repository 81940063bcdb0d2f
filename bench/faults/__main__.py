"""`python -m bench.faults`: injects faults under load, and compares what was acknowledged with what is stored."""

import sys

import click
import psycopg

from bench.faults.disk import FaultUnavailableError
from bench.faults.injections import FAULTS, Length
from bench.faults.report import print_report
from bench.faults.trial import try_fault
from bench.processes import ServerStartError
from storage.errors import StorageError

FAULTS_BY_NAME = {fault.name: fault for fault in FAULTS}
# Click keeps the lines of a paragraph that begins with \b.
FAULT_LIST = "\b\n" + "\n".join(f"{fault.name}: {fault.what}" for fault in FAULTS)

# What is raised when a server or a Postgres does not come back.
NOT_BACK = (ServerStartError, StorageError, TimeoutError, EOFError, psycopg.Error)


@click.command(epilog=FAULT_LIST)
@click.option("--faults", "names", metavar="NAME,...", default=",".join(FAULTS_BY_NAME), help="which; all by default")
@click.option("--seconds", type=float, default=8.0, show_default=True, help="how long each fault lasts")
@click.option("--rounds", type=int, help="how often what is repeated is repeated, instead of for so many seconds")
def main(names: str, seconds: float, rounds: int | None) -> None:
    """Inject each fault into a server of its own under load, and print a table.

    The exit code is 1 when a batch was lost or doubled, or when something else happened that must not.
    """
    chosen = names.split(",")
    if unknown := set(chosen) - FAULTS_BY_NAME.keys():
        raise click.BadParameter(f"there is no fault {', '.join(sorted(unknown))}", param_hint="--faults")
    results, is_broken = [], False
    for name in chosen:
        click.echo(f"{name}: ", nl=False, err=True)
        try:
            result = try_fault(FAULTS_BY_NAME[name], Length(seconds, rounds))
        except FaultUnavailableError as error:
            click.echo(f"skipped: {error}", err=True)
        except NOT_BACK as error:
            is_broken = True
            click.echo(f"what was to come back did not: {error}", err=True)
        else:
            results.append(result)
            click.echo(result.summary, err=True)
    print_report(results)
    sys.exit(is_broken or any(result.has_failed for result in results))


if __name__ == "__main__":
    main()
