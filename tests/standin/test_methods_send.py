"""sendDocument, sendMediaGroup and sendMessage on the wire."""

from typing import Any

import pytest

from addon.standin.server import StandIn
from addon.standin.switches import Switches
from tests.standin.asking import Asker
from tests.standin_fixture import BOT_A_ID, CHANNEL, GROUP, OTHER_CHANNEL, PRIVATE, SUPERGROUP

GARBAGE = "wrong remote file identifier specified: can't unserialize it. Wrong last symbol"


async def test_the_answer_in_a_channel_has_its_fields_in_order(bot: Asker) -> None:
    message = await bot.send(caption="text", chat_id=CHANNEL)
    assert list(message) == ["message_id", "sender_chat", "chat", "date", "document", "caption"]
    assert message["message_id"] == 2
    assert message["sender_chat"] == message["chat"]
    assert message["chat"] == {"id": CHANNEL, "title": "Storage", "username": "storage_channel", "type": "channel"}
    assert message["date"] == 1_700_000_000
    assert list(message["document"]) == ["file_name", "mime_type", "file_id", "file_unique_id", "file_size"]


async def test_in_a_group_the_sender_is_the_bot(bot: Asker) -> None:
    message = await bot.send(chat_id=GROUP, protect_content=True)
    assert message["from"]["id"] == BOT_A_ID
    assert "sender_chat" not in message
    assert message["has_protected_content"] is True


async def test_numbers_are_the_chats_in_channels_and_the_bots_in_private_chats_and_groups(
    bot: Asker, bot_b: Asker
) -> None:
    numbers = [(await sender.send(chat_id=SUPERGROUP))["message_id"] for sender in (bot, bot_b, bot)]
    assert numbers == [2, 3, 4]
    shared = [(await bot.send(chat_id=chat))["message_id"] for chat in (PRIVATE, GROUP, PRIVATE)]
    assert shared == [1, 2, 3]
    assert (await bot_b.send(chat_id=GROUP))["message_id"] == 1


async def test_a_number_is_never_given_twice(bot: Asker) -> None:
    message = await bot.send()
    await bot.result("deleteMessage", chat_id=CHANNEL, message_id=message["message_id"])
    assert (await bot.send())["message_id"] == message["message_id"] + 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('say "hi".bin', "say  hi.bin"),
        ("dir/part.bin", "part.bin"),
        ("literal %41.bin", "literal A.bin"),
        ("x" * 200 + ".bin", "x" * 64 + ".bin"),
        ("smile 😀.bin", "smile.bin"),
        ("größe.bin", "größe.bin"),
        ("a;b.bin", "a;b.bin"),
    ],
)
async def test_names_are_cleaned(bot: Asker, sent: str, kept: str) -> None:
    assert (await bot.send(name=sent))["document"]["file_name"] == kept


async def test_an_unknown_extension_has_no_mime_type(bot: Asker) -> None:
    assert "mime_type" not in (await bot.send(name="a.unheardof"))["document"]


async def test_equal_content_is_two_files(bot: Asker) -> None:
    first, second = await bot.send(b"same"), await bot.send(b"same")
    assert first["document"]["file_unique_id"] != second["document"]["file_unique_id"]


class TestDedupe:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(dedupe=True, rate_limits="off")

    async def test_equal_content_is_one_file(self, bot: Asker, bot_b: Asker) -> None:
        first, second = await bot.send(b"same"), await bot_b.send(b"same")
        assert first["document"]["file_unique_id"] == second["document"]["file_unique_id"]
        assert first["document"]["file_id"] != second["document"]["file_id"]
        assert (await bot_b.download(await bot_b.file_path(second))).content == b"same"


async def test_sending_by_file_id_makes_another_message_of_the_same_file(bot: Asker) -> None:
    document = (await bot.send(caption="old"))["document"]
    again = await bot.result("sendDocument", chat_id=OTHER_CHANNEL, document=document["file_id"], caption="new")
    assert again["document"]["file_unique_id"] == document["file_unique_id"]
    assert again["document"]["file_id"] != document["file_id"]
    assert again["caption"] == "new"


async def test_an_attachment_is_found_by_its_name(bot: Asker) -> None:
    files = {"other": ("o.bin", b"no"), "mine": ("m.bin", b"yes")}
    message = await bot.result("sendDocument", files, chat_id=CHANNEL, document="attach://mine")
    assert message["document"]["file_name"] == "m.bin"


async def test_foreign_and_dead_file_ids(bot: Asker, bot_b: Asker) -> None:
    foreign = (await bot_b.send())["document"]["file_id"]
    description = "Bad Request: wrong file identifier/HTTP URL specified"
    assert await bot.refused("sendDocument", chat_id=CHANNEL, document=foreign) == (400, description)


@pytest.mark.parametrize(
    ("arguments", "file", "description"),
    [
        ({}, None, "there is no document in the request"),
        ({"document": "attach://missing"}, b"x", "there is no document in the request"),
        ({"document": "https://example.com/a"}, None, "failed to get HTTP URL content"),
        ({"document": "garbage"}, b"x", GARBAGE),
        ({}, b"", "file must be non-empty"),
        ({"caption": "x" * 1025}, b"x", "message caption is too long"),
        ({"reply_parameters": {"message_id": 77}}, b"x", "message to be replied not found"),
        ({"chat_id": ""}, b"x", "chat_id is empty"),
        ({"chat_id": "-5"}, b"x", "chat not found"),
        ({"chat_id": "@nobody"}, b"x", "chat not found"),
    ],
)
async def test_refusals(bot: Asker, arguments: dict[str, Any], file: bytes | None, description: str) -> None:
    files = None if file is None else {"document": ("a.bin", file)}
    refusal = await bot.refused("sendDocument", files, **{"chat_id": CHANNEL, **arguments})
    assert refusal == (400, f"Bad Request: {description}")
    assert (await bot.send())["message_id"] == 2, "a refused call uses up no number"


async def test_a_caption_of_1024_characters_passes(bot: Asker) -> None:
    assert (await bot.send(caption="😀" * 1024))["caption"] == "😀" * 1024


@pytest.mark.parametrize(
    ("content", "name", "keys"),
    [
        (b"GIF89a" + bytes(500), "a.gif", {"animation", "document"}),
        (b"\0\0\0\x18ftypisom", "a.bin", {"video"}),
        (b"ID3....", "a.mp3", {"audio"}),
        (b"OggS..OpusHead", "a.ogg", {"voice"}),
        (b"RIFF....WEBP", "a.webp", {"sticker"}),
    ],
)
async def test_without_the_flag_a_document_may_become_something_else(
    bot: Asker, content: bytes, name: str, keys: set[str]
) -> None:
    message = await bot.send(content, name, disable_content_type_detection=False, caption="caption")
    kinds = {"document", "animation", "video", "audio", "voice", "sticker"}
    assert set(message) & kinds == keys
    assert ("caption" in message) == (keys != {"sticker"})
    plain = await bot.send(content, name)
    assert set(plain) & kinds == {"document"}


async def test_the_bytes_of_a_gif_are_lost(bot: Asker) -> None:
    content = b"GIF89a" + bytes(500)
    message = await bot.send(content, "a.gif", disable_content_type_detection=False)
    assert message["document"]["file_name"] == "a.gif.mp4"
    assert message["document"]["mime_type"] == "video/mp4"
    assert message["animation"]["file_id"] == message["document"]["file_id"]
    path = await bot.file_path(message)
    assert path.startswith("animations/")
    downloaded = (await bot.download(path)).content
    assert downloaded != content
    assert len(downloaded) == message["document"]["file_size"] != len(content)


async def test_tgs_is_a_sticker_whatever_the_flag(bot: Asker) -> None:
    message = await bot.send(b"anything", "a.tgs", caption="gone")
    assert "sticker" in message
    assert not {"document", "caption"} & set(message)
    assert "file_name" not in message["sticker"]


class TestThumbnails:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(thumbnails=True)

    async def test_a_picture_has_one_under_both_names(self, bot: Asker) -> None:
        document = (await bot.send(b"\xff\xd8\xff\xe0 jpeg", "a.jpg"))["document"]
        assert document["thumbnail"] == document["thumb"]
        assert document["thumbnail"]["file_id"] != document["file_id"]


def album(count: int, **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    files = {f"f{number}": (f"{number}.bin", b"item %d" % number) for number in range(count)}
    return files, [{"type": "document", "media": f"attach://f{number}", **more} for number in range(count)]


async def test_an_album_of_ten(bot: Asker) -> None:
    files, media = album(10, caption="c")
    messages = await bot.result("sendMediaGroup", files, chat_id=CHANNEL, media=media)
    assert [message["message_id"] for message in messages] == list(range(2, 12))
    assert len({message["media_group_id"] for message in messages}) == 1


async def test_an_album_of_one_has_no_group(bot: Asker) -> None:
    files, media = album(1)
    (message,) = await bot.result("sendMediaGroup", files, chat_id=CHANNEL, media=media)
    assert "media_group_id" not in message


async def test_one_part_may_serve_two_items(bot: Asker) -> None:
    files, media = album(1)
    messages = await bot.result("sendMediaGroup", files, chat_id=CHANNEL, media=media * 2)
    assert len({message["document"]["file_unique_id"] for message in messages}) == 1


@pytest.mark.parametrize(
    ("media", "description"),
    [
        ([], "there are no messages to send"),
        (album(11)[1], "too many messages to send as an album"),
        ({"type": "document"}, "expected an Array of InputMedia"),
        ([{"type": "document", "media": "attach://missing"}], "can't parse InputMedia: media not found"),
        ([{"type": "document"}], "can't parse InputMedia: media not found"),
        (
            [{"type": "document", "media": "attach://f0"}, {"type": "photo", "media": "attach://f1"}],
            "document can't be mixed with other media types",
        ),
    ],
)
async def test_albums_that_are_refused(bot: Asker, media: Any, description: str) -> None:
    refusal = await bot.refused("sendMediaGroup", album(11)[0], chat_id=CHANNEL, media=media)
    assert refusal == (400, f"Bad Request: {description}")


FAILED_ITEM = 'Bad Request: failed to send message #3 with the error message "file must be non-empty"'


async def test_one_item_that_fails_fails_the_album(standin: StandIn, bot: Asker) -> None:
    files, media = album(4)
    files["f2"] = ("2.bin", b"")
    assert await bot.refused("sendMediaGroup", files, chat_id=CHANNEL, media=media) == (400, FAILED_ITEM)
    assert len(standin.control.state()["chats"][str(CHANNEL)]["messages"]) == 1


class TestPartialAlbum:
    @pytest.fixture
    def switches(self) -> Switches:
        return Switches(album_partial=True)

    async def test_the_items_before_it_stay(self, standin: StandIn, bot: Asker) -> None:
        files, media = album(4)
        files["f2"] = ("2.bin", b"")
        assert await bot.refused("sendMediaGroup", files, chat_id=CHANNEL, media=media) == (400, FAILED_ITEM)
        numbers = [m["message_id"] for m in standin.control.state()["chats"][str(CHANNEL)]["messages"]]
        assert numbers == [1, 2, 3]


async def test_a_reply_shows_the_original_in_full_even_a_protected_one(bot: Asker) -> None:
    original = await bot.send(caption="original", protect_content=True)
    reply = await bot.result(
        "sendMessage", chat_id=CHANNEL, text="?", reply_parameters={"message_id": original["message_id"]}
    )
    assert reply["reply_to_message"] == original


async def test_replying_to_what_is_not_there(bot: Asker) -> None:
    missing = {"message_id": 99}
    assert await bot.refused("sendMessage", chat_id=CHANNEL, text="?", reply_parameters=missing) == (
        400,
        "Bad Request: message to be replied not found",
    )
    allowed = {**missing, "allow_sending_without_reply": True}
    assert "reply_to_message" not in await bot.result(
        "sendMessage", chat_id=CHANNEL, text="?", reply_parameters=allowed
    )
