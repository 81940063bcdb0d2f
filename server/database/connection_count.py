"""How many connections to Postgres a server opens at most."""

from server.database.later_work import LaterWork
from server.database.limit_sharing import LimitSharing
from server.database.maintenance import Maintenance
from server.database.rollup_upkeep import RollupUpkeep
from server.query.administration import Administration
from server.query.service import QueryService
from server.service import IngestService
from server.settings import LimitScope, Settings
from storage.spool.drain import Drainer


def connections_needed(settings: Settings) -> int:
    """Return the most connections of a server with these settings: those of its workers and of the main process."""
    workers = settings.http_workers + settings.grpc_workers
    queries = settings.query_workers * (QueryService.CONNECTIONS + Administration.CONNECTIONS)
    main_process = Maintenance.CONNECTIONS + RollupUpkeep.CONNECTIONS + LaterWork.CONNECTIONS + Drainer.CONNECTIONS
    if settings.limit_scope is LimitScope.DATABASE:
        main_process += LimitSharing.CONNECTIONS
    return workers * IngestService.CONNECTIONS + queries + main_process
