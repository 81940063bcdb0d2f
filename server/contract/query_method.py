"""The methods of the query API."""

from enum import StrEnum


class QueryMethod(StrEnum):
    """A method of `seestack.query.v1.QueryService`, by its name there."""

    LIST = "ListHttpRequests"
    STATS = "GetStats"
    TIME_SERIES = "GetTimeSeries"
    DISTRIBUTION = "GetDistribution"
    TOP_HOSTS = "ListTopHosts"
    TOP_ENDPOINTS = "ListTopEndpoints"
    TRACE = "GetTrace"
    EXPORT = "ExportHttpRequests"
    TAIL = "TailHttpRequests"
