"""tgstore: a mitmproxy addon that keeps an S3 bucket's objects in Telegram.

The map, outermost layer first; imports go down only (`tests/test_architecture.py` reads them):

    tgstore.py           what mitmdump loads
    composition.py       the composition root of the proxy
    cli.py, commands/    the `tgstore` commands: what they are called, and what they do
    storage.py           the composition root of all that keeps objects: names the implementations of the ports
    proxy/               mitmproxy's side: where each request goes (the switch), forwarding, the in-memory answer
    service/             the object service: an ASGI application that authenticates and answers S3 requests
    store/               what keeping an object means: records, layout, object store, migrator; the ports that it needs
    s3/, sigv4.py        pure S3 protocol and signatures: no I/O, no clock
    config/              settings, validated and frozen; imported by the composition root, the commands and proxy/

Implementations of the ports that `store/` declares, seen only by the composition roots and the commands:

    telegram/            Bot API client, limits, bots and chats, documents
    origin/              signed HTTP client of the real bucket
    index/               tables and queries (SQLAlchemy Core), schema migrations (Alembic)

And apart from all of it:

    standin/             a local stand-in for the Bot API, for trying out and for tests

Words: *object* (a key with bytes and metadata), *document* (one file sent to Telegram, one message), *extent* (a byte range of one
document that holds a piece of an object), *frame* (one piece of an aws-chunked body), *part* (S3 multipart only), *origin* (the
real bucket), *tombstone* (the record that a key was deleted here).
"""
