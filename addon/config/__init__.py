"""Settings: a TOML file and the environment → validated, frozen values.

    load_config(find_config_path(option, os.environ, Path.cwd()), os.environ)

`config.example.toml` explains every key; a test holds it to the models. Relative paths start at the folder of the settings
file. A secret may be written `env:NAME` or `file:PATH`. What is wrong is reported all at once, with file, key, value and what was
expected; a secret's value is never shown. (Values that contradict each other are looked for once each is right by itself.)

    loading.py           finds, reads and validates the file
    models.py            the sections and their keys
    values.py            the kinds of value
    contradictions.py    what is right by itself and wrong together
    changes.py           what differs from the settings of the start, and what of it needs a restart
    problems.py          what is wrong, in words
"""

from addon.config.changes import LIVE_BUCKET_KEYS, needing_restart
from addon.config.loading import CONFIG_NAME, CONFIG_VARIABLE, find_config_path, load_config
from addon.config.models import (
    Bucket,
    Cache,
    Config,
    Copies,
    Cors,
    Credential,
    Encryption,
    Index,
    Multipart,
    Origin,
    Service,
    Store,
    Telegram,
)
from addon.config.problems import BOT_TOKENS_VARIABLE, ConfigError, Problem
from addon.config.values import byte_count

__all__ = [
    "BOT_TOKENS_VARIABLE",
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "LIVE_BUCKET_KEYS",
    "Bucket",
    "Cache",
    "Config",
    "ConfigError",
    "Copies",
    "Cors",
    "Credential",
    "Encryption",
    "Index",
    "Multipart",
    "Origin",
    "Problem",
    "Service",
    "Store",
    "Telegram",
    "byte_count",
    "find_config_path",
    "load_config",
    "needing_restart",
]
