"""A local stand-in for Telegram's Bot API, for trying out and for tests: as strict as the real server where that is known.

It is a program of its own and imports nothing from the rest of the package. Where to look:

    server.py            `StandIn`: listens, keeps connections, starts and stops
    connection.py        one HTTP/1.1 connection (h11), down to the transport, because faults need it
    routes.py, reception.py, multipart.py, arguments.py     from bytes to a call's arguments and files
    api.py, downloads.py, delivery.py                       a call executed, a file served, an answer sent (or spoiled on its way)
    methods_*.py         the Bot API methods, plain functions over the world
    world.py, database.py, files.py, identifiers.py         chats, messages, documents, blobs and file_ids, kept in a folder
    limits.py, faults.py                                    flood control; faults ordered through the control port
    desk.py, control.py  the control port: its two ends
    command.py           `python -m addon.standin`

What the real server does is described on https://core.telegram.org/bots/api and in the source of tdlib/telegram-bot-api; choices
where the cloud's behaviour is not known are fields of `switches.Switches`.
"""
