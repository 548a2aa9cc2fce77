"""From the file and the environment to `Config`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from addon.config.contradictions import contradictions
from addon.config.models import Config
from addon.config.problems import BOT_TOKENS_VARIABLE, ConfigError, Problem, problem_of
from addon.config.values import Surroundings

CONFIG_NAME = "config.toml"
CONFIG_VARIABLE = "TGSTORE_CONFIG"

_CONFIG_BYTES_MAX = 1 << 20


def find_config_path(option: str | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """The settings file: the one of the option, else of TGSTORE_CONFIG, else config.toml in `cwd`. Raises ConfigError."""
    for said_by, name in (("the option", option), (CONFIG_VARIABLE, environ.get(CONFIG_VARIABLE))):
        if name:
            path = cwd / Path(name).expanduser()
            if not path.is_file():
                raise ConfigError(Problem(str(path), "", "", f"expected the settings file here, as {said_by} says"))
            return path
    path = cwd / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(
            Problem(
                str(path),
                "",
                "",
                f"there is no such file; copy config.example.toml to {CONFIG_NAME} and fill it in, or name another file "
                f"with --set tgstore_config=PATH or the environment variable {CONFIG_VARIABLE}",
            )
        )
    return path


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Read and validate the settings. Raises ConfigError with everything that is wrong."""
    content = _parse(path)
    tokens = [token.strip() for token in environ.get(BOT_TOKENS_VARIABLE, "").split(",") if token.strip()]
    if tokens and isinstance(content.setdefault("telegram", {}), dict):
        content["telegram"]["bot_tokens"] = tokens
    for section in ("telegram", "store", "index", "cache", "service", "copies", "multipart"):
        content.setdefault(section, {})
    try:
        config = Config.model_validate(content, context=Surroundings(path.absolute().parent, environ))
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [problem_of(path, details, tokens_from_environment=bool(tokens)) for details in found]
        raise ConfigError(*problems) from None
    wrong_together = [Problem(str(path), *wrong) for wrong in contradictions(config)]
    if wrong_together:
        raise ConfigError(*wrong_together)
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_CONFIG_BYTES_MAX + 1)
        if len(content) > _CONFIG_BYTES_MAX:
            raise ConfigError(Problem(str(path), "", "", f"expected a file of at most {_CONFIG_BYTES_MAX} bytes"))
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(Problem(str(path), "", "", f"the file cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(str(path), "", "", f"expected UTF-8 text (byte {error.start} is not)")) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem(str(path), "", "", f"not valid TOML: {error}")) from None
