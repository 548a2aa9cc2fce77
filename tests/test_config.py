"""Settings: what is accepted, what it becomes, and how each wrong value is reported, without ever showing a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from addon.config import Config, ConfigError, find_config_path, load_config

TOKEN = "123456:TOKEN-that_is_secret"
SECRET = "wJalrXUtnFEMI/K7MDENG"

MINIMAL = f"""
[telegram]
bot_tokens = ["{TOKEN}"]
chat_ids = [-1001234567890]

[[buckets]]
name = "images"
hosts = ["img.example.com"]
"""

WITH_ORIGIN = f"""{MINIMAL}
credentials = [{{ access_key_id = "AKIA1", secret_access_key = "{SECRET}" }}]
[buckets.origin]
endpoint = "https://s3.eu-central-1.amazonaws.com"
bucket = "images"
"""


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, environ or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong, without the name of the file, which each line must begin with."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    assert caught.value.__cause__ is None
    for secret in (TOKEN, SECRET, "TOKEN-that_is_secret"):
        assert secret not in f"{caught.value!r} {caught.value.problems!r}"
    start = f"{tmp_path / 'config.toml'}: "
    assert all(line.startswith((start, "environment variable TGSTORE_TELEGRAM_BOT_TOKENS: ")) for line in lines)
    return [line.removeprefix(start) for line in lines]


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.telegram.api_url == "https://api.telegram.org"
    assert config.store.put_wait_s_max == 25
    assert config.index.url == f"sqlite:///{tmp_path}/data/tgstore.db"
    assert (config.cache.dir, config.cache.bytes_max) == (tmp_path / "data" / "cache", 2 << 30)
    assert config.cache.memory_bytes_max == 256 << 20
    assert (config.service.host, config.service.port) == ("127.0.0.1", 0)
    assert (config.service.object_bytes_max, config.service.spool_dir) == (5 << 30, tmp_path / "data" / "spool")
    assert config.copies.model_dump() == {
        "concurrency": 2,
        "attempts_max": 8,
        "retry_delay_s_min": 5,
        "retry_delay_s_max": 3600,
    }
    assert config.multipart.expire_after_s == 7 * 86400
    (bucket,) = config.buckets
    assert bucket.cors is None
    assert (bucket.path_hosts, bucket.anonymous_read, bucket.unknown_keys) == ((), False, "origin")
    assert (bucket.credentials, bucket.origin) == ((), None)
    assert (bucket.revalidate_after_s, bucket.negative_ttl_s) == (0, 0)


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text(
        '[index]\nurl = "sqlite:///a.db"\n[cache]\ndir = "../cache"\n[service]\nspool_dir = "/abs/spool"\n' + MINIMAL
    )
    monkeypatch.chdir(tmp_path.parent)
    config = load_config(Path(tmp_path.name) / "config.toml", {})
    assert config.index.url == f"sqlite:///{tmp_path}/a.db"
    assert config.cache.dir == tmp_path / "../cache"
    assert config.service.spool_dir == Path("/abs/spool")


def test_an_absolute_index_stays_where_it_is(tmp_path: Path) -> None:
    config = load(tmp_path, '[index]\nurl = "sqlite:////var/lib/tgstore.db"\n' + MINIMAL)
    assert config.index.url == "sqlite:////var/lib/tgstore.db"


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    with pytest.raises(ValidationError):
        config.cache.bytes_max = 5


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("0", 0),
        ("20000000", 20_000_000),
        ('"20000000"', 20_000_000),
        ('"20MB"', 20_000_000),
        ('"2 GiB"', 2 << 30),
        ('"256mib"', 256 << 20),
        ('"7B"', 7),
        ('"1KiB"', 1024),
        ('"3TB"', 3 * 10**12),
    ],
)
def test_sizes(tmp_path: Path, written: str, size: int) -> None:
    assert load(tmp_path, f"[cache]\nbytes_max = {written}\n{MINIMAL}").cache.bytes_max == size


@pytest.mark.parametrize("written", ["-1", "1.5", "true", '"2 gigs"', '""', '"GiB"', '"-2GiB"', "[]"])
def test_what_is_no_size(tmp_path: Path, written: str) -> None:
    (problem,) = problems(tmp_path, f"[cache]\nbytes_max = {written}\n{MINIMAL}")
    assert problem.startswith("cache.bytes_max = ")
    assert "expected a number of bytes" in problem


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("IMG.Example.COM.", "img.example.com"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("under_score.example.com", "under_score.example.com"),
    ],
)
def test_hosts_are_kept_as_they_are_compared(tmp_path: Path, written: str, host: str) -> None:
    assert load(tmp_path, MINIMAL.replace("img.example.com", written)).buckets[0].hosts == (host,)


@pytest.mark.parametrize(
    "host",
    [
        "https://img.example.com",
        "img.example.com:443",
        "img.example.com/a",
        "",
        "*.example.com",
        "a b",
        "é.com",
        "a..b",
    ],
)
def test_what_is_no_host(tmp_path: Path, host: str) -> None:
    (problem,) = problems(tmp_path, MINIMAL.replace("img.example.com", host))
    assert problem.startswith('buckets[0].hosts[0] = "')
    assert "expected a host name without scheme, port and path" in problem


# What stands in the file, what stands there instead, and how the one problem is reported.
WRONG = [
    ("chat_ids = [-1001234567890]", "chat_ids = [0]", "telegram.chat_ids[0] = 0: expected the number of a chat"),
    ("chat_ids = [-1001234567890]", "chat_ids = [true]", "telegram.chat_ids[0] = true: expected a valid integer"),
    ("chat_ids = [-1001234567890]", 'chat_ids = ["@me"]', 'telegram.chat_ids[0] = "@me": expected a valid integer'),
    ("chat_ids = [-1001234567890]", "chat_ids = [5, 5]", "telegram.chat_ids = a list: expected each of them once"),
    ("chat_ids = [-1001234567890]", "chat_ids = []", "telegram.chat_ids = a list: expected at least one entry"),
    ("chat_ids = [-1001234567890]", "", "telegram.chat_ids: this key is missing"),
    ("chat_ids = [-1001234567890]", "chat_ids = 5", "telegram.chat_ids = 5: expected a list"),
    (f'["{TOKEN}"]', "[]", "telegram.bot_tokens = a list: expected at least one entry"),
    (f'["{TOKEN}"]', f'"{TOKEN}"', "telegram.bot_tokens = ***: expected a list"),
    (f'["{TOKEN}"]', '["TOKEN-that_is_secret"]', "telegram.bot_tokens[0] = ***: expected a bot token"),
    (f'["{TOKEN}"]', "[5]", 'telegram.bot_tokens[0] = ***: expected a string, "env:NAME" or "file:PATH"'),
    (f'["{TOKEN}"]', f'["{TOKEN}", "123456:other"]', "telegram.bot_tokens[1] = ***: expected another bot"),
    ("[telegram]", "[telegram]\nbot_token = 'x'", "telegram.bot_token: there is no such key; did you mean bot_tokens?"),
    ("[telegram]", "[store]\nput_wait_s_max = 0\n[telegram]", "store.put_wait_s_max = 0: expected greater than 0"),
    (
        "[telegram]",
        '[store]\nack = "spool"\nspool_bytes_max = "39MB"\n[telegram]',
        "store.spool_bytes_max = 39000000: expected 40000000 bytes at least, two whole documents",
    ),
    ("[telegram]", "[store]\nput_wait_s_max = inf\n[telegram]", "store.put_wait_s_max = inf: expected"),
    ("[telegram]", "[telegram]\napi_url = 'api.telegram.org'", 'telegram.api_url = "api.telegram.org": expected a URL'),
    (
        "[telegram]",
        f"[telegram]\napi_url = 'ftp://h/bot{TOKEN}'",
        'telegram.api_url = "ftp://h/bot***": expected a URL',
    ),
    ("[telegram]", "[telegram]\napi_url = 'http://u:p@h'", 'telegram.api_url = "http://***@h": expected a URL'),
    ("[telegram]", "[telegramm]\na = 1\n[telegram]", "telegramm: there is no such key; did you mean telegram?"),
    (
        "[telegram]",
        "[logging]\n[telegram]",
        "logging: there is no such key; expected one of telegram, store, encryption",
    ),
    ("[telegram]", "cache = 5\n[telegram]", "cache = 5: expected a table"),
    ("[telegram]", "cache = 'text'\n[telegram]", "cache = text: expected a table"),
    (
        "[telegram]",
        "[index]\nurl = 'postgresql://u:p@h/d'\n[telegram]",
        'index.url = "postgresql://***@h/d": expected "sqlite',
    ),
    (
        "[telegram]",
        "[index]\nurl = 'sqlite://'\n[telegram]",
        'index.url = "sqlite://": expected "sqlite:///path/to/file.db"',
    ),
    (
        "[telegram]",
        "[index]\nurl = 'sqlite:///:memory:'\n[telegram]",
        'index.url = "sqlite:///:memory:": expected "sqlite',
    ),
    ("[telegram]", "[cache]\ndir = ''\n[telegram]", 'cache.dir = "": expected a path'),
    ("[telegram]", "[service]\nhost = '0.0.0.0'\n[telegram]", 'service.host = "0.0.0.0": expected a loopback address'),
    ("[telegram]", "[service]\nport = 65536\n[telegram]", "service.port = 65536: expected less than or equal to 65535"),
    (
        "[telegram]",
        "[service]\nconcurrency = 2\n[telegram]",
        "service.concurrency: there is no such key here; it belongs to copies",
    ),
    (
        "[telegram]",
        "[copies]\nconcurrency = 0\n[telegram]",
        "copies.concurrency = 0: expected greater than or equal to 1",
    ),
    ("[telegram]", "[copies]\nattempts_max = 2.0\n[telegram]", "copies.attempts_max = 2.0: expected a valid integer"),
    (
        "[telegram]",
        "[copies]\nretry_delay_s_min = 9\nretry_delay_s_max = 3\n[telegram]",
        "copies.retry_delay_s_min = 9.0: expected no more than copies.retry_delay_s_max",
    ),
    ('name = "images"', 'name = "Images"', 'buckets[0].name = "Images": expected a bucket name'),
    ('name = "images"', 'name = "im"', 'buckets[0].name = "im": expected a bucket name'),
    ('name = "images"', 'name = "a..b"', 'buckets[0].name = "a..b": expected a bucket name'),
    ('name = "images"', 'name = "10.0.0.1"', 'buckets[0].name = "10.0.0.1": expected a bucket name'),
    ('name = "images"', 'name = "images-"', 'buckets[0].name = "images-": expected a bucket name'),
    ('hosts = ["img.example.com"]', "", "buckets[0].hosts = []: expected a host here or in path_hosts"),
    ('hosts = ["img.example.com"]', 'hosts = ["a", "A."]', "buckets[0].hosts = a list: expected each of them once"),
    (
        'hosts = ["img.example.com"]',
        'hosts = ["a"]\npath_hosts = ["A"]',
        'buckets[0].path_hosts[0] = "a": expected a host that means no bucket by itself, but buckets[0].hosts[0] is the same',
    ),
    (
        'name = "images"',
        'name = "images"\nanonymous_read = "yes"',
        'buckets[0].anonymous_read = "yes": expected a valid boolean',
    ),
    (
        'name = "images"',
        'name = "images"\nunknown_keys = "ask"',
        'buckets[0].unknown_keys = "ask": expected "origin" or "reject"',
    ),
    (
        'name = "images"',
        'name = "images"\nmode = "off"',
        'buckets[0].mode = "off": expected "store" or "passthrough"',
    ),
    ('"AKIA1"', '""', "buckets[0].credentials[0].access_key_id = ***: expected printable ASCII"),
    (f', secret_access_key = "{SECRET}"', "", "buckets[0].credentials[0].secret_access_key: this key is missing"),
    ("credentials = [{", f'credentials = ["AKIA1:{SECRET}", {{', "buckets[0].credentials[0] = ***: expected a table"),
    ("credentials = [{", f'secret_key = "{SECRET}"\ncredentials = [{{', "buckets[0].secret_key: there is no such key"),
    (
        "https://s3.eu-central-1.amazonaws.com",
        "s3.amazonaws.com",
        'buckets[0].origin.endpoint = "s3.amazonaws.com": expected',
    ),
    (
        "https://s3.eu-central-1.amazonaws.com",
        "https://h/b",
        'buckets[0].origin.endpoint = "https://h/b": expected a URL',
    ),
    (
        "https://s3.eu-central-1.amazonaws.com",
        "https://h?a=b",
        'buckets[0].origin.endpoint = "https://h?***": expected a URL',
    ),
    (
        "https://s3.eu-central-1.amazonaws.com",
        "https://h:99999",
        'buckets[0].origin.endpoint = "https://h:99999": expected a URL',
    ),
    (
        'bucket = "images"',
        'bucket = "a/b"',
        'buckets[0].origin.bucket = "a/b": expected the name of the bucket at the origin',
    ),
    ('bucket = "images"', 'bucket = "images"\nregion = "EU"', 'buckets[0].origin.region = "EU": expected a region'),
    (
        'bucket = "images"',
        'bucket = "images"\naddressing = "dns"',
        'buckets[0].origin.addressing = "dns": expected "virtual"',
    ),
    (
        'bucket = "images"',
        'bucket = "images"\naccess_key_id = "AKIA2"',
        "buckets[0].origin.secret_access_key: this key is missing, while access_key_id is there",
    ),
    (
        'bucket = "images"',
        f'bucket = "images"\nsecret_access_key = "{SECRET}"',
        "buckets[0].origin.access_key_id: this key is missing, while secret_access_key is there",
    ),
]


@pytest.mark.parametrize(("good", "bad", "expected"), WRONG, ids=[f"{bad[:50]!r}" for _, bad, _ in WRONG])
def test_a_wrong_value_is_reported_with_its_key_and_what_was_expected(
    tmp_path: Path, good: str, bad: str, expected: str
) -> None:
    assert WITH_ORIGIN.count(good), "the table is wrong"
    load(tmp_path, WITH_ORIGIN)
    (problem,) = problems(tmp_path, WITH_ORIGIN.replace(good, bad, 1))
    assert problem.startswith(expected)


def test_everything_that_is_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = WITH_ORIGIN.replace("-1001234567890", "0").replace('"images"', '"I"', 1).replace("https://", "", 1)
    assert [problem.partition(" ")[0] for problem in problems(tmp_path, text)] == [
        "telegram.chat_ids[0]",
        "buckets[0].name",
        "buckets[0].origin.endpoint",
    ]


def test_an_empty_file_says_what_is_missing(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == [
        "telegram.bot_tokens: this key is missing",
        "telegram.chat_ids: this key is missing",
        "buckets: this key is missing",
    ]


def bucket(name: str, hosts: str, *, path_hosts: str = "", secret: str = "", origin: str = "") -> str:
    credentials = f'{{ access_key_id = "AKIA1", secret_access_key = "{secret}" }}' if secret else ""
    text = (
        f'[[buckets]]\nname = "{name}"\nhosts = [{hosts}]\npath_hosts = [{path_hosts}]\ncredentials = [{credentials}]\n'
    )
    return text + (f"[buckets.origin]\n{origin}\n" if origin else "")


TELEGRAM = MINIMAL.partition("[[buckets]]")[0]


def test_two_buckets_must_be_told_apart(tmp_path: Path) -> None:
    text = TELEGRAM + bucket("one", '"a", "b"', path_hosts='"p"') + bucket("one", '"c", "B."', path_hosts='"p", "a"')
    assert problems(tmp_path, text) == [
        'buckets[1].name = "one": expected another name than buckets[0].name',
        'buckets[1].hosts[1] = "b": expected a host of one bucket only, but buckets[0].hosts[1] is the same',
        'buckets[1].path_hosts[1] = "a": expected a host that means no bucket by itself, but buckets[0].hosts[0] is the same',
    ]


def test_an_access_key_has_one_secret(tmp_path: Path) -> None:
    same = TELEGRAM + bucket("one", '"a"', secret="s1") + bucket("two", '"b"', secret="s1")
    assert len(load(tmp_path, same).buckets) == 2
    (problem,) = problems(tmp_path, TELEGRAM + bucket("one", '"a"', secret="s1") + bucket("two", '"b"', secret=SECRET))
    assert problem.startswith(
        "buckets[1].credentials[0].secret_access_key = ***: expected the secret of buckets[0].cred"
    )


@pytest.mark.parametrize(
    ("endpoint", "addressing", "leads_back"),
    [
        ("https://s3.example.com", "path", True),
        ("https://S3.EXAMPLE.com.", "path", True),
        ("https://s3.example.com", "virtual", True),
        ("https://example.com", "virtual", True),
        ("https://example.com", "path", False),
        ("https://backend.example.com", "virtual", False),
        ("http://127.0.0.1", "path", True),
        ("http://127.0.0.1:9000", "path", False),
        ("http://localhost:9000", "path", False),
        ("https://s3.example.com:443", "path", False),
    ],
)
def test_an_origin_under_our_own_name_would_lead_back_to_us(
    tmp_path: Path, endpoint: str, addressing: str, leads_back: bool
) -> None:
    origin = f'endpoint = "{endpoint}"\nbucket = "files"\naddressing = "{addressing}"'
    others = bucket("two", "", path_hosts='"s3.example.com", "127.0.0.1", "localhost"')
    text = TELEGRAM + bucket("one", '"files.example.com"', origin=origin) + others
    if not leads_back:
        load(tmp_path, text)
        return
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f'buckets[0].origin.endpoint = "{endpoint}": ')
    assert "would lead back to us" in problem


def test_a_trailing_slash_of_a_url_goes(tmp_path: Path) -> None:
    text = WITH_ORIGIN.replace("amazonaws.com", "amazonaws.com/").replace(
        "[telegram]", '[telegram]\napi_url = "http://127.0.0.1:8081/"'
    )
    config = load(tmp_path, text)
    assert config.telegram.api_url == "http://127.0.0.1:8081"
    assert config.buckets[0].origin is not None
    assert config.buckets[0].origin.endpoint == "https://s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("key", "value", "usual"),
    [("mode", "passthrough", "store"), ("writes", "both", "telegram"), ("writes", "origin", "telegram")],
)
def test_a_bucket_without_origin_can_only_be_a_store(tmp_path: Path, key: str, value: str, usual: str) -> None:
    assert problems(tmp_path, f'{MINIMAL}{key} = "{value}"\n') == [
        f'buckets[0].{key} = "{value}": expected "{usual}": this bucket has no [buckets.origin]'
    ]
    config = load(tmp_path, WITH_ORIGIN.replace('name = "images"', f'name = "images"\n{key} = "{value}"'))
    assert getattr(config.buckets[0], key) == value


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("AKIA-from-file\n")
    text = WITH_ORIGIN.replace(TOKEN, "env:TOKEN").replace("AKIA1", "file:key").replace(SECRET, "env:SECRET")
    config = load(tmp_path, text, {"TOKEN": TOKEN, "SECRET": SECRET})
    assert [token.get_secret_value() for token in config.telegram.bot_tokens] == [TOKEN]
    (credential,) = config.buckets[0].credentials
    assert credential.access_key_id.get_secret_value() == "AKIA-from-file"
    assert credential.secret_access_key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("env:MISSING", "expected the environment variable MISSING to hold it, but that is not set or empty"),
        ("env:EMPTY", "expected the environment variable EMPTY to hold it, but that is not set or empty"),
        ("file:missing", "missing to hold it, but it cannot be read: No such file or directory"),
        ("file:binary", "binary to hold it and nothing else"),
        ("file:huge", "huge to hold it and nothing else"),
        ("file:two-lines", "expected printable ASCII characters without spaces"),
        ("file:empty", "expected printable ASCII characters without spaces"),
    ],
)
def test_a_secret_that_is_not_there_is_reported(tmp_path: Path, written: str, expected: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + SECRET.encode())
    (tmp_path / "huge").write_bytes(b"x" * 100_000)
    (tmp_path / "two-lines").write_text(f"{SECRET}\n{SECRET}\n")
    (tmp_path / "empty").touch()
    (problem,) = problems(tmp_path, WITH_ORIGIN.replace(SECRET, written), {"EMPTY": " "})
    assert problem.startswith("buckets[0].credentials[0].secret_access_key = ***: expected ")
    assert problem.endswith(expected) or expected in problem


def test_bot_tokens_may_come_from_the_environment_alone(tmp_path: Path) -> None:
    text = MINIMAL.replace(f'bot_tokens = ["{TOKEN}"]\n', "")
    config = load(tmp_path, text, {"TGSTORE_TELEGRAM_BOT_TOKENS": f" 77:abc ,{TOKEN},"})
    assert [token.get_secret_value() for token in config.telegram.bot_tokens] == ["77:abc", TOKEN]
    replaced = load(tmp_path, MINIMAL, {"TGSTORE_TELEGRAM_BOT_TOKENS": "77:abc"})
    assert [token.get_secret_value() for token in replaced.telegram.bot_tokens] == ["77:abc"]
    kept = load(tmp_path, MINIMAL, {"TGSTORE_TELEGRAM_BOT_TOKENS": " "})
    assert [token.get_secret_value() for token in kept.telegram.bot_tokens] == [TOKEN]


def test_a_wrong_token_in_the_environment_is_reported_there(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, MINIMAL, {"TGSTORE_TELEGRAM_BOT_TOKENS": f"{TOKEN},TOKEN-that_is_secret"})
    assert problem.startswith(
        "environment variable TGSTORE_TELEGRAM_BOT_TOKENS: telegram.bot_tokens[1] = ***: expected"
    )


def test_no_secret_shows_in_text_of_the_settings(tmp_path: Path) -> None:
    config = load(tmp_path, WITH_ORIGIN)
    for text in (repr(config), str(config), config.model_dump_json(), repr(config.model_dump())):
        assert TOKEN not in text
        assert SECRET not in text
        assert "AKIA1" not in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[telegram]\nbot_tokens = [\n  'a' 'b'\n]", "not valid TOML: Unclosed array (at line 3, column 7)"),
        (b"[telegram", "not valid TOML: Expected ']' at the end of a table declaration (at end of document)"),
        (b"a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        (b"# caf\xe9", "expected UTF-8 text (byte 5 is not)"),
        (b"#" * (2 << 20), "expected a file of at most 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_parsed(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value) == f"{path}: {expected}"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file cannot be read: No such file or directory"):
        load_config(tmp_path / "config.toml", {})


def test_the_option_comes_before_the_variable_and_that_before_the_folder(tmp_path: Path) -> None:
    for name in ("option.toml", "variable.toml", "config.toml"):
        (tmp_path / name).touch()
    environ = {"TGSTORE_CONFIG": "variable.toml"}
    assert find_config_path("option.toml", environ, tmp_path) == tmp_path / "option.toml"
    assert find_config_path(str(tmp_path / "option.toml"), environ, Path("/")) == tmp_path / "option.toml"
    assert find_config_path(None, environ, tmp_path) == tmp_path / "variable.toml"
    assert find_config_path("", {"TGSTORE_CONFIG": ""}, tmp_path) == tmp_path / "config.toml"


def test_a_file_that_was_named_and_is_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with pytest.raises(ConfigError, match=r"missing\.toml: expected the settings file here, as the option says"):
        find_config_path("missing.toml", {}, tmp_path)
    with pytest.raises(ConfigError, match=r"missing\.toml: expected the settings file here, as TGSTORE_CONFIG says"):
        find_config_path(None, {"TGSTORE_CONFIG": "missing.toml"}, tmp_path)


def test_without_any_file_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml: there is no such file; copy config\.example\.toml"):
        find_config_path(None, {}, tmp_path)


# --- Cross-origin rules

RULE = """[[buckets.cors]]
allowed_origins = ["https://www.example.com"]
allowed_methods = ["GET"]
"""


def test_a_cross_origin_rule(tmp_path: Path) -> None:
    text = RULE + 'allowed_headers = ["x-amz-*"]\nexpose_headers = ["ETag"]\nmax_age_s = 0\nid = "a"'
    (rule,) = load(tmp_path, f"{MINIMAL}\n{text}").buckets[0].cors or ()
    assert rule.model_dump() == {
        "id": "a",
        "allowed_origins": ("https://www.example.com",),
        "allowed_methods": ("GET",),
        "allowed_headers": ("x-amz-*",),
        "expose_headers": ("ETag",),
        "max_age_s": 0,
    }
    assert load(tmp_path, f"{MINIMAL}\ncors = []").buckets[0].cors == ()


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example.com",
        "http*://example.com",
        "http://localhost:8080",
        "https://[::1]:8080",
        "*.example.com",
    ],
)
def test_origins_of_pages(tmp_path: Path, origin: str) -> None:
    text = RULE.replace("https://www.example.com", origin)
    assert load(tmp_path, f"{MINIMAL}\n{text}").buckets[0].cors is not None


@pytest.mark.parametrize(
    ("before", "after", "key", "expected"),
    [
        *(
            ("https://www.example.com", origin, "allowed_origins[0]", "expected an origin like")
            for origin in ("", "www.example.com", "https://a.test/", "https://a.test/b", "https://*.*.test", "https://a b",
                           "https://", "null", "https://ż.test", "https://a.test,https://b.test")
        ),
        ('["https://www.example.com"]', "[]", "allowed_origins", "expected at least one entry"),
        ('["GET"]', "[]", "allowed_methods", "expected at least one entry"),
        ('["GET"]', '["get"]', "allowed_methods[0]", "expected \"GET\""),
        ('["GET"]', '["PATCH"]', "allowed_methods[0]", "expected \"GET\""),
        ('["GET"]', '["GET"]\nallowed_headers = ["a b"]', "allowed_headers[0]", "expected the name of a header"),
        ('["GET"]', '["GET"]\nallowed_headers = ["*a*"]', "allowed_headers[0]", "one * at most"),
        ('["GET"]', '["GET"]\nexpose_headers = ["*"]', "expose_headers[0]", "without *"),
        ('["GET"]', '["GET"]\nmax_age_s = -1', "max_age_s", "expected greater than or equal to 0"),
        ('["GET"]', '["GET"]\nmax_age_s = "1"', "max_age_s", "expected a valid integer"),
        ('["GET"]', '["GET"]\nmax_age = 1', "max_age", "did you mean max_age_s?"),
        ('allowed_methods = ["GET"]', "", "allowed_methods", "this key is missing"),
    ],
)  # fmt: skip
def test_cross_origin_rules_that_are_wrong(tmp_path: Path, before: str, after: str, key: str, expected: str) -> None:
    assert before in RULE
    (problem,) = problems(tmp_path, f"{MINIMAL}\n{RULE.replace(before, after)}")
    assert problem.startswith(f"buckets[0].cors[0].{key}"), problem
    assert expected in problem


def test_there_is_a_limit_of_cross_origin_rules(tmp_path: Path) -> None:
    assert len(load(tmp_path, f"{MINIMAL}\n{RULE * 100}").buckets[0].cors or ()) == 100
    (problem,) = problems(tmp_path, f"{MINIMAL}\n{RULE * 101}")
    assert problem.startswith("buckets[0].cors")


@pytest.mark.parametrize(
    ("written", "is_right"), [("60", True), ("0.5", True), ("0", False), ("-1", False), ("1e9", False)]
)
def test_how_long_an_upload_in_parts_may_take(tmp_path: Path, written: str, is_right: bool) -> None:
    text = f"[multipart]\nexpire_after_s = {written}\n{MINIMAL}"
    if is_right:
        assert load(tmp_path, text).multipart.expire_after_s == float(written)
    else:
        assert problems(tmp_path, text)[0].startswith("multipart.expire_after_s = ")


@pytest.mark.parametrize(
    ("telegram", "store", "key"),
    [
        ("", "", ""),
        ("local = true\ndocument_bytes_max = '2000MB'", "", ""),
        ("local = true\ndocument_bytes_max = '2000MB'", "pack_bytes_max = '100MB'", ""),
        ("document_bytes_max = 8_000_000", "pack_bytes_max = 8_000_000", ""),
        ("document_bytes_max = 20_000_001", "", "telegram.document_bytes_max"),
        ("local = true\ndocument_bytes_max = 2_000_000_001", "", "telegram.document_bytes_max"),
        ("document_bytes_max = 1_000_000", "", "telegram.document_bytes_max"),
        ("document_bytes_max = 8_000_000", "", "store.pack_bytes_max"),
        ("local = true", "pack_bytes_max = '21MB'", "store.pack_bytes_max"),
    ],
)
def test_how_large_a_document_may_be(tmp_path: Path, telegram: str, store: str, key: str) -> None:
    text = MINIMAL.replace("[telegram]", f"[store]\n{store}\n[telegram]\n{telegram}")
    if not key:
        assert load(tmp_path, text).store.pack_bytes_max <= load(tmp_path, text).telegram.document_bytes_max
    else:
        assert problems(tmp_path, text)[0].startswith(f"{key} = ")
