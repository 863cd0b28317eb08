"""`positions`: account -> the account's row, the authoritative state of everything an account has and owes.

Key: the account id, so that a row lies on the partition of the account's inbox. Writer: `agents/decide.py` alone, after
the outputs of the step were acknowledged. Readers: `decide`; `clock` (the polling interval); the guard (`begin`);
the worker's `/live`.
"""

from collections.abc import Iterable, Mapping, MutableMapping

from streams.topics import partition_for
from tables.decoded import Decoded
from trading.portfolio import Portfolio, row_bytes


def positions(rows: MutableMapping[bytes, bytes]) -> MutableMapping[str, Portfolio]:
    """Return the table's rows as portfolios."""
    return Decoded(rows, encode=row_bytes, decode=Portfolio.model_validate_json)


def begin(
    rows: Mapping[str, Portfolio], accounts: Iterable[str], *, cursor: int | None, partition: int, partitions: int
) -> int | None:
    """Return the first inbox offset of a partition that some account has not applied; None for the log's start.

    It is the lowest of the accounts' `seq` + 1 and `cursor`; an account without a row, and a partition without a
    cursor, has applied nothing. Rows of accounts that are not asked for do not count.
    """
    here = [account for account in accounts if partition_for(account.encode(), partitions) == partition]
    if cursor is None or any(account not in rows for account in here):
        return None
    return min([cursor, *(rows[account].seq + 1 for account in here)])
