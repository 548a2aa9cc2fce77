"""Two chats for each document: sent by file_id, never a reason to refuse; every way that leads to a file is tried before it counts
as lost; and further copies are made without an upload."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from addon.store.ports import DocumentLost, TelegramUnavailable
from addon.store.records import Document, DocumentCopy
from addon.store.second_copies import Kept, PlaceGone, Ways
from tests.standin_fixture import BOT_A, BOT_A_ID, BOT_B, BOT_B_ID, CHANNEL, GROUP, OTHER_CHANNEL, SUPERGROUP
from tests.telegram.telegram_world import World, fails, telegram_world

CONTENT = random.Random(7).randbytes(300_000)
TWO = (CHANNEL, OTHER_CHANNEL)
LOST_FILE_ID = {"kind": "invalid_file_id", "permanent": True}


def uploads(world: World) -> list[dict[str, object]]:
    return [call for call in world.calls("senddocument") if call["files"]]


def knows(world: World, ways: Ways) -> list[str]:
    """Let the documents' index answer `ways`; returns who was asked for."""
    asked: list[str] = []

    async def ways_to(document_id: str) -> Ways:
        asked.append(document_id)
        return ways

    world.documents.look_up_ways(ways_to)
    return asked


def place(document: Document) -> DocumentCopy:
    return DocumentCopy(document.chat_id, document.message_id, document.bot_id, document.file_id)


# --- Sending ------------------------------------------------------------------------------------------------------------------


async def test_a_document_is_uploaded_once_and_lies_in_both_chats_with_the_same_caption(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        document = await world.send(CONTENT)
        (copy,) = document.copies
        assert {document.chat_id, copy.chat_id} == set(TWO)
        assert copy.bot_id == document.bot_id
        assert len(uploads(world)) == 1
        assert len(world.calls("senddocument")) == 2
        for chat_id in TWO:
            (message,) = world.messages(chat_id)
            assert message["text"] == "tgstore doc-1"
            assert message["document"]["size"] == len(CONTENT)


async def test_what_may_not_be_sent_again_is_uploaded_again(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        world.faults({"kind": "invalid_file_id"}, method="sendDocument", nth=2)
        document = await world.send(CONTENT)
        (copy,) = document.copies
        assert {document.chat_id, copy.chat_id} == set(TWO)
        assert len(uploads(world)) == 2


async def test_another_bot_uploads_where_the_first_may_not_send_to_the_second_chat(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=TWO, copies=2) as world:
        world.standin.control.chat("kick", OTHER_CHANNEL, bot_id=BOT_A_ID)
        world.standin.control.chat("kick", CHANNEL, bot_id=BOT_B_ID)
        for number in range(4):
            document = await world.send(CONTENT, f"doc-{number}")
            (copy,) = document.copies
            assert {(document.chat_id, document.bot_id), (copy.chat_id, copy.bot_id)} == {
                (CHANNEL, BOT_A_ID),
                (OTHER_CHANNEL, BOT_B_ID),
            }


@pytest.mark.parametrize("trouble", ["delete", "kick", "pause"])
async def test_a_second_chat_that_does_not_work_is_no_reason_to_refuse(tmp_path: Path, trouble: str) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        if trouble == "pause":
            world.faults({"kind": "rate", "retry_after": 100}, method="sendDocument", chat_id=OTHER_CHANNEL)
        else:
            world.standin.control.chat(trouble, OTHER_CHANNEL)
        document = await world.send(CONTENT)
        assert (document.chat_id, document.copies) == (CHANNEL, ())
        assert world.documents.copies.lacks_copies.is_set()
        assert world.holds(document, CONTENT)


async def test_where_copies_are_two_the_pace_is_that_of_documents(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO) as one, telegram_world(tmp_path / "b", chats=TWO, copies=2) as two:
        assert two.documents.slot_s() == 2 * one.documents.slot_s()


# --- Reading ------------------------------------------------------------------------------------------------------------------


async def test_the_index_is_not_asked_while_the_document_itself_leads_to_its_file(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        document = await world.send(CONTENT)
        asked = knows(world, Ways())
        assert await world.read(document) == CONTENT
        assert asked == []


async def test_the_file_id_of_the_copy_is_tried_before_anything_is_forwarded(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        document = await world.send(CONTENT)
        asked = knows(world, Ways(document.copies))
        world.faults({"kind": "invalid_file_id"}, method="getFile")
        assert await world.read(document) == CONTENT
        assert asked == [document.document_id]
        assert world.calls("forwardmessage") == []


Losing = Callable[[World, Document], None]


def delete_first_chat(world: World, document: Document) -> None:
    world.standin.control.chat("delete", document.chat_id)


def delete_first_message(world: World, document: Document) -> None:
    world.standin.control.chat("delete_message", document.chat_id, message_id=document.message_id)


def throw_out_of_first_chat(world: World, document: Document) -> None:
    world.standin.control.chat("kick", document.chat_id)


@pytest.mark.parametrize("lose", [delete_first_chat, delete_first_message, throw_out_of_first_chat])
async def test_the_message_of_the_copy_leads_to_the_file_where_no_file_id_does(tmp_path: Path, lose: Losing) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=TWO, copies=2) as world:
        document = await world.send(CONTENT)
        knows(world, Ways(document.copies))
        lose(world, document)
        world.faults(LOST_FILE_ID, method="getFile")
        world.faults(LOST_FILE_ID, method="getFile")
        assert await world.read(document) == CONTENT


async def test_another_bot_reads_while_the_first_is_revoked_and_both_file_ids_are_known_afterwards(
    tmp_path: Path,
) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        assert document.bot_id == BOT_A_ID
        world.standin.control.chat("revoke", bot_id=BOT_A_ID)
        assert await world.read(document) == CONTENT
        ((document_id, bot_id, file_id),) = world.won
        assert (document_id, bot_id) == (document.document_id, BOT_B_ID)
        # Another process, or this one after a restart, has it from the index.
        await world.time.sleep(3600)
        world.documents._links._file_ids.clear()
        knows(world, Ways(file_ids=[(BOT_B_ID, file_id)]))
        before = len(world.calls("forwardmessage"))
        assert await world.read(document) == CONTENT
        assert len(world.calls("forwardmessage")) == before
        world.standin.control.chat("revive", bot_id=BOT_A_ID)
        await world.time.sleep(3600)
        await world.documents.look()
        asked = knows(world, Ways(file_ids=[(BOT_B_ID, file_id)]))
        assert await world.read(document) == CONTENT
        assert asked == []
        assert world.calls("getfile")[-1]["bot_id"] == BOT_A_ID, "the first one's file_id is the document's own still"


async def test_a_revoked_bot_is_noticed_when_it_reads_and_asked_less_and_less(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        documents = [await world.send(CONTENT[number:], f"doc-{number}") for number in range(6)]
        world.standin.control.chat("revoke", bot_id=BOT_A_ID)
        for number, document in enumerate(documents):
            assert await world.read(document) == CONTENT[number:]
        refused = [call for call in world.calls("getfile") if call["status"] == 401]
        assert len(refused) == 1, "the others are read by the bot that works"


async def test_a_pause_of_one_bot_does_not_keep_the_other_from_reading(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B)) as world:
        document = await world.send(CONTENT)
        world.faults({"kind": "rate", "retry_after": 100}, method="getFile")
        assert await world.read(document) == CONTENT
        assert world.time.slept_s < 10
        assert world.calls("getfile")[-1]["bot_id"] == BOT_B_ID


async def test_what_no_way_leads_to_is_lost_and_what_one_may_lead_to_later_is_not(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO, copies=2) as world:
        document = await world.send(CONTENT)
        (copy,) = document.copies
        knows(world, Ways(document.copies))
        for chat_id, message_id in ((document.chat_id, document.message_id), (copy.chat_id, copy.message_id)):
            world.standin.control.chat("delete_message", chat_id, message_id=message_id)
        world.faults(LOST_FILE_ID, method="getFile")
        world.faults(LOST_FILE_ID, method="getFile")
        await fails(DocumentLost, world.read(document))
        world.standin.control.chat("kick", copy.chat_id)
        await fails(TelegramUnavailable, world.read(document))


# --- Further copies -----------------------------------------------------------------------------------------------------------


async def test_a_further_copy_is_a_copied_message_with_its_caption(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=TWO) as world:
        document = await world.send(CONTENT)
        (other,) = set(TWO) - {document.chat_id}
        copy = await world.documents.copies.copy(Kept(document, Ways()), chats=[other])
        assert (copy.chat_id, copy.bot_id, copy.file_id) == (other, document.bot_id, document.file_id)
        (message,) = world.messages(other)
        assert (message["message_id"], message["text"]) == (copy.message_id, "tgstore doc-1")
        assert len(uploads(world)) == 1
        assert world.calls("forwardmessage") == []


async def test_a_bot_without_a_file_id_copies_where_the_sender_is_gone(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=TWO) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("revoke", bot_id=document.bot_id)
        await world.documents.copies.ask_all()
        (other,) = set(TWO) - {document.chat_id}
        copy = await world.documents.copies.copy(Kept(document, Ways()), chats=[other])
        assert (copy.bot_id, copy.file_id) == (BOT_B_ID, "")
        knows(world, Ways([copy]))
        world.standin.control.chat("delete", document.chat_id)
        assert await world.read(document) == CONTENT


async def test_the_file_id_alone_is_enough_where_the_only_chat_is_lost(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, tokens=(BOT_A, BOT_B), chats=TWO) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("delete", document.chat_id)
        await world.documents.copies.ask_all()
        (other,) = set(TWO) - {document.chat_id}
        assert world.documents.copies.working_chats() == {other}
        copy = await world.documents.copies.copy(Kept(document, Ways()), chats=[other])
        (message,) = world.messages(other)
        assert message["text"] == '{"tgstore":1,"d":"doc-1"}'
        assert copy.bot_id == document.bot_id
        assert len(uploads(world)) == 1


async def test_a_message_that_is_gone_is_told(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO) as world:
        document = await world.send(CONTENT)
        (other,) = set(TWO) - {document.chat_id}
        delete_first_message(world, document)
        gone = await fails(PlaceGone, world.documents.copies.copy(Kept(document, Ways()), chats=[other]))
        assert gone.place == place(document)


async def test_where_no_chat_is_left_it_is_told(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=TWO) as world:
        document = await world.send(CONTENT)
        world.standin.control.chat("delete", OTHER_CHANNEL)
        await world.documents.copies.ask_all()
        await fails(TelegramUnavailable, world.documents.copies.copy(Kept(document, Ways()), chats=[OTHER_CHANNEL]))


async def test_the_chats_that_work_follow_migrations(tmp_path: Path) -> None:
    async with telegram_world(tmp_path, chats=(GROUP, SUPERGROUP), copies=2) as world:
        world.standin.control.chat("migrate", GROUP, new_id=-1001000000099)
        await world.documents.copies.ask_all()
        assert world.documents.copies.working_chats() == {-1001000000099, SUPERGROUP}
        document = await world.send(CONTENT)
        assert {document.chat_id, document.copies[0].chat_id} == {-1001000000099, SUPERGROUP}
