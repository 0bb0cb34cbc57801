"""The measurement of the page's server, in small: every piece is counted, with a time that can be."""

from bench.frontend_streams import measure


def test_every_piece_of_every_stream_is_counted() -> None:
    delays = measure(streams=3, pieces=5)
    assert (delays.complete, delays.pieces) == (3, 15)
    assert 0 < delays.p50_ms <= delays.p95_ms <= delays.max_ms < 10_000
    assert delays.cpu_us > 0
