"""The audit of the log's tree: whether all that is stored and signed of it is what its leaves give.

That a leaf is the hash of its entry, and an entry what is stored of a round, are questions for SQL. This goes on from
the tree that the audit's checkpoint carries, leaf by leaf, and believes no hash that is stored above them.
"""

from keno.fairness.log import note
from keno.fairness.log.growing_tree import GrowingTree
from keno.fairness.log.note import NoteError, VerifierKey
from keno.fairness.log.store import StoredCheckpoint
from keno.infra.postgres import Connection
from keno.reporting.audit import log_store

_LEAVES_A_RUN = 1_000
"""With the signatures of as many checkpoints well under the time that a transaction may be idle."""


async def rows_breaking(conn: Connection, tree: GrowingTree, limit: int) -> list[str]:
    """The first things that are not as the tree over the leaves says, of the part that is laid out.

    `tree` is that of the leaves before the part, and afterwards of all up to its end if nothing is broken.
    """
    if tree.size and not await log_store.has_entry(conn, tree.size - 1):
        return [f"entry={tree.size - 1}, audited and gone"]
    key = await log_store.key(conn)
    broken: list[str] = []
    while len(broken) < limit:
        first = tree.size
        leaves = await log_store.leaves(conn, first, _LEAVES_A_RUN)
        if not leaves:
            broken += await log_store.beyond(conn, first, limit)
            break
        last = first + len(leaves)
        nodes = await log_store.nodes(conn, first, last)
        signed = await log_store.checkpoints(conn, first, last)
        for index, leaf_hash in leaves:
            if index != tree.size:
                return [*broken, f"entry={tree.size}, next_entry={index}"][:limit]
            for level, at, digest in tree.add(leaf_hash):
                if nodes.pop((level, at), None) != digest:
                    broken.append(f"level={level}, index={at}, hash={digest.hex()}")
            checkpoint = signed.pop(tree.size, None)
            if checkpoint is not None:
                broken += _objections(checkpoint, tree.root(), key)
        broken += [f"level={level}, index={at}" for level, at in nodes]
    return broken[:limit]


def _objections(checkpoint: StoredCheckpoint, root: bytes, key: VerifierKey | None) -> list[str]:
    """What is wrong with a checkpoint, of which the tree has this root."""
    if checkpoint.root != root:
        return [f"checkpoint={checkpoint.size}, root={checkpoint.root.hex()}, tree={root.hex()}"]
    try:
        body, signatures = note.parse_note(checkpoint.note)
        stated = note.parse_checkpoint(body)
    except NoteError as error:
        return [f"checkpoint={checkpoint.size}, note={error}"]
    if key is None or stated != note.Checkpoint(key.name, checkpoint.size, root):
        return [f"checkpoint={checkpoint.size}, note={stated.origin} {stated.size} {stated.root.hex()}"]
    if not any(key.made(each) and key.verifies(body, each) for each in signatures):
        return [f"checkpoint={checkpoint.size}, note=not signed by the key of the log"]
    return []
