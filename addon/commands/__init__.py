"""What the `tgstore` commands do; `cli.py` says what they are called and what they take.

    running.py       settings, exit status, and how a command is stopped
    output.py        what people read on a terminal or in a log, and what machines read
    progress.py      how far a long command is
    origins.py       which origin may be asked
    status.py        where a bucket stands on its way
    migrate.py       moving a whole bucket
    retire.py        the end of an origin, and the way back
    verify.py        whether what moved is the same as at the origin
    export.py        what only Telegram holds goes back to the origin
    import_d1.py     files that a worker kept in Telegram, from an export of its D1 table (d1_export.py reads it,
                     import_list.py keeps its links)

A module is imported when its command runs, so that `tgstore --help` is quick.
"""
