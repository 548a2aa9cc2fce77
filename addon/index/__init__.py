"""The index: what is kept where, in a SQL database. Implements the port `Index` of `store/ports.py`.

    sql_index.py     the port: hands each call over to the right connection
    writer.py        one thread that writes; what waits at the same time shares one transaction and one fsync
    reader.py        reads, in the calling thread where they are short
    objects.py       transactions on objects; deletions.py: on tombstones; documents.py: on documents and what is garbage
    relocations.py   bytes that lie in another document now; erasures.py: what may be erased, and the fence around it;
                     retelling.py: states whose document goes
    conditions.py    conditions of writes, judged in the transaction that writes
    uploads.py       transactions on multipart uploads; upload_queries.py: what only reads them
    origin_writes.py transactions on writes that go past us; copies.py: on copy jobs
    listings.py      what lies where: objects and common prefixes in order, tombstones among keys and under prefixes
    queries.py       everything else that only reads
    tables.py        the tables as the code sees them; rows.py: rows to records and back; numbers.py: the counter
    schema.py        brings a database to the code's revision; migrations/: how each revision is reached
    sqlite.py        all that is true of SQLite only
    errors.py        what a database library raises, as errors of the port

Apart from `sqlite.py` every statement is portable SQL, so that several processes may share a PostgreSQL later.
"""

import logging

# Alembic announces its plugins at INFO when it is imported, in the middle of an operator's start-up log.
logging.getLogger("alembic").setLevel(logging.WARNING)
