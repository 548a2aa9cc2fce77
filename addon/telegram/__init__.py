"""The port `Documents` on Telegram's Bot API. From the outside in:

documents.py   sending and reading documents; the one class that the composition root makes
second_copies.py  the same document in a second chat, at once or later; resending.py how, without an upload
links.py       file links, and every way to a file: file_ids, other bots, other chats
deletions.py   deleting messages
bots.py        which bot sends to which chat, and when
asides.py      pairs that were refused, and whether they work again
shared_budget.py  what all processes on one index know of the limits
limits.py      Telegram's limits and pauses as pure bookkeeping; slots.py so many of something at once
retries.py     growing pauses, attempts, deadlines
downloads.py   one download: exactly the right bytes, or an error
local_files.py the same from the disk of a local Bot API server
answers.py     what an answer about a document must hold (pure)
client.py      one bot's calls over HTTP; multipart.py the body of an upload; errors.py what a call can fail with
wide_reads.py  lets httpcore read in larger pieces
redaction.py   keeps tokens out of the HTTP libraries' logs
probe.py       what `tgstore check` tries
"""
