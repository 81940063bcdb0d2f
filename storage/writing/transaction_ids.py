"""Ids of transactions that tell the node: its group's number in the upper 16 bits, 0 where there is one Postgres."""

_BITS = 48  # which no transaction of a Postgres ever reaches


def first_id_of(group: int) -> int:
    """Return what is added to the ids of a node."""
    return group << _BITS


def group_of(transaction_id: int) -> int:
    """Return the number of the node's group."""
    return transaction_id >> _BITS


def local_id_of(transaction_id: int) -> int:
    """Return what the node itself calls the transaction."""
    return transaction_id & (1 << _BITS) - 1
