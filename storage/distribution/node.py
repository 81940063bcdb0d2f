"""A node of a distributed database as a destination: rows go into the parts of the shards that it has."""

from collections.abc import Sequence

from storage.distribution.catalogue import Node, Placement
from storage.writing.claims import CLAIMS_TABLE
from storage.writing.destination import Database, Target
from storage.writing.row_encoding import EncodedBatch, project_of
from storage.writing.row_form import RowForm
from storage.writing.transaction_ids import first_id_of


class NodeDatabase(Database):
    """A node, with the shards that it had when the catalogue was read."""

    def __init__(self, url: str, node: Node, placement: Placement) -> None:
        """`url` is the node's own."""
        super().__init__(url)
        self.transaction_base = first_id_of(node.group)
        # The number of a shard stays when it is moved.
        self._targets: dict[tuple[RowForm, int], Target] = {}
        self.placement = placement

    def target_of(self, batch: EncodedBatch) -> Target:
        """Return the target of a batch: the parts of its project's shard."""
        shard = self.placement.shard_of(project_of(batch))
        key = (batch.form, shard.number)
        target = self._targets.get(key)
        if target is None:
            form = RowForm(shard.table(batch.form.table), batch.form.columns)
            target = self._targets[key] = Target(form, shard.table(CLAIMS_TABLE), shard.number)
        return target

    def statement(self, targets: Sequence[Target], with_claims: Sequence[Target] = ()) -> str:
        """Return what `Database.statement` does, for which the node must have the shards, and keep them."""
        numbers = sorted(target.shard for target in targets)
        return f"SELECT hold_shards('{{{','.join(map(str, numbers))}}}'); {super().statement(targets, with_claims)}"
