"""The laboratory of the end-to-end tests: real servers, a real mitmdump and real S3 clients, all on loopback.

- ``process``       a child process with a log file: start, wait until it answers, stop, kill -9
- ``certificates``  a small authority, and a certificate of it for mitmdump
- ``rgw``, ``moto`` the servers that play the origin bucket: Ceph RGW verifies signatures, moto is quick
- ``standin``       the stand-in for the Bot API and its control port
- ``tgstore``       settings file and mitmdump with the addon
- ``half_moved``    a bucket in the middle of its move, behind one mitmdump that all clients share
- ``clients``       drivers of the S3 clients, one module a family; ``python -m tests.end_to_end.lab.clients`` lists them

Nothing here imports from ``addon``: the product is seen from outside only.
"""
