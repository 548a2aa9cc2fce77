"""A process that sends as much as it is let: `python -m tests.telegram.sender URL INDEX_FILE COUNT`; without a ledger where the
index is `-`. Prints how many documents arrived."""

from __future__ import annotations

import asyncio
import random
import sys

from addon.index.sql_index import open_index
from addon.store.ports import DocumentToSend
from addon.store.records import Document
from addon.telegram.documents import TelegramDocuments
from tests.standin_fixture import BOT_A, CHANNEL

WAIT_S_MAX = 4.0


async def send(url: str, index_file: str, count: int) -> int:
    index = None if index_file == "-" else await open_index(f"sqlite:///{index_file}")
    documents = TelegramDocuments(url, [BOT_A], [CHANNEL], send_wait_s_max=WAIT_S_MAX, ledger=index)
    documents.start()
    rng = random.Random()
    wanted = [rng.randbytes(1000 + number) for number in range(count)]
    sends = (
        documents.send(DocumentToSend(f"doc-{number}", content, len(content), "tgstore"))
        for number, content in enumerate(wanted)
    )
    results = await asyncio.gather(*sends, return_exceptions=True)
    await documents.close()
    if index is not None:
        await index.close()
    return sum(isinstance(result, Document) for result in results)


if __name__ == "__main__":
    print(asyncio.run(send(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
