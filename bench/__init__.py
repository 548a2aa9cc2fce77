"""Benchmarks. Each figure stands beside a yardstick that was measured in the same run on the same machine.

    python -m bench               all of them, as a table
    python -m bench hot miss      only these

They need `wrk` (Debian package wrk) for the request rates and say so where it is missing. Nothing here is a test: no limit is
asserted, the figures are printed and read by people.
"""
