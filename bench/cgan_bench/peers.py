"""Our fastest row beside the fastest of everything else, where both give the reference's outputs."""

from __future__ import annotations

from cgan_bench.rounds import Block
from cgan_bench.rows import Row, ratio

__all__ = ["against_peers"]


def against_peers(block: Block) -> str | None:
    """The result in one sentence; None where there are not both, or nothing was beside the reference.

    Rows whose outputs are beyond the limit of their precision are no peers: what they compute is something else.
    Of a busy machine, and of two rows of which one is unstable, nothing is said.
    """
    fit = [row for row in block.rows if row.comparable and row.valid and row.peak_memory_mb is not None]
    ours, peers = [row for row in fit if _is_ours(row)], [row for row in fit if not _is_ours(row)]
    if block.noisy or not ours or len(peers) < 2:
        return None
    best, peer = min(ours, key=_p50_ms), min(peers, key=_p50_ms)
    if "unstable" in (best.verdict, peer.verdict):
        return None
    times = ratio(peer.latencies_ms, best.latencies_ms)
    return (
        f"our fastest row, {best.title}, is {times.median:.2f} times as fast as the fastest other, {peer.title} "
        f"({times.q1:.2f}-{times.q3:.2f}) at batch {best.batch}"
    )


def _is_ours(row: Row) -> bool:
    return "_bundle" in row.key


def _p50_ms(row: Row) -> float:
    return row.percentile_ms(50)
