"""Benchmarks. Each figure stands beside a yardstick that was measured in the same run on the same machine.

    python -m bench               all of them, as a table
    python -m bench hot miss      only these
    python -m bench listing       a page of a merged listing over the size of the bucket; the columns are our time, the origin's
                                  (each with the entries of the page), and their ratio; BENCH_RGW_FRONTEND=tcp_nodelay=1
                                  makes the origin as quick as it can be
    python -m bench complete      CompleteMultipartUpload over the number of parts
    python -m bench sealing       what encryption costs; BENCH_SEALING_MIB=1024 for an object of a gibibyte
    python -m bench recovery      the index made again from the chat alone; BENCH_RECOVERY_OBJECTS=1000 makes a quick try
    python -m bench packs         group commit within Telegram's limits, with one, two and four bots: ten minutes;
                                  BENCH_PACKS_COPIES=1000 makes a quick try
    python -m bench small large   reads from memory, from disk and cold, against the same bytes straight from the stand-in's file
                                  host, by 1 reader and by 16; BENCH_LARGE_BYTES makes the large object another size than 1 GiB

They need `wrk` (Debian package wrk) for the request rates; `listing` needs Ceph RGW (scripts/setup-lab.sh) with python3-rados,
and about 4 GB of memory. What is missing is said. Nothing here is a test: no limit is asserted, the figures are printed and
read by people.
"""
