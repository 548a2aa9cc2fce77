"""What trying a setting showed: the result that `tgstore check` prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One thing that was tried. `subject` names it (`bot 123456 in chat -100…`), `detail` says what was seen, `advice` what the
    operator can do about a failure (empty where `ok`). No secret stands in any of them."""

    subject: str
    ok: bool
    detail: str
    advice: str = ""
