"""`tgstore verify`: is what moved the same as at the origin."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from typing import Any

import typer

from addon.commands.origins import origin_to_ask
from addon.commands.output import fail, printable, say, say_json, size_text
from addon.commands.progress import Progress
from addon.config import Config
from addon.storage import command_storage
from addon.store.verifier import Finding, Outcome, Tally, Verifier, VerifyOrder

# A seed that is chosen has so many bits, so that it can be typed again.
SEED_BITS = 32

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%?", re.ASCII)


def share_of(text: str) -> float:
    """The share that `5%` means. Raises typer.BadParameter for what is no percentage above 0 and up to 100."""
    found = _PERCENT.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise typer.BadParameter(f"{text!r} is no percentage above 0 and up to 100, such as 5%")
    return float(found[1]) / 100


async def verify(config: Config, order: VerifyOrder, *, seed: int | None, as_json: bool) -> bool:
    """Compare, report, and sum up; whether everything is equal."""
    seed = random.SystemRandom().getrandbits(SEED_BITS) if seed is None else seed
    async with command_storage(config) as storage:
        origin = await origin_to_ask(storage.index, storage.origins, order.bucket)
        if isinstance(origin, str) and not (order.deep or order.written):
            raise fail(f"{origin}. With --deep the bytes of its objects are compared with their own hashes")
        verifier = Verifier(
            storage.store,
            storage.index,
            None if isinstance(origin, str) else origin,
            order,
            random.Random(seed),  # noqa: S311 -- it draws a sample, no secret
        )
        report = _Report(verifier, Progress("verify", expected=await verifier.expected(), as_json=as_json), as_json)
        try:
            async with report.progress.shown():
                await verifier.run(report.tell)
        except asyncio.CancelledError:
            report.sum_up(seed, stopped=True)
            raise
        report.sum_up(seed, stopped=False)
        return verifier.tally.clean


class _Report:
    """What is said of a verification."""

    def __init__(self, verifier: Verifier, progress: Progress, as_json: bool) -> None:
        self._verifier, self.progress, self._as_json = verifier, progress, as_json

    def tell(self, finding: Finding) -> None:
        """One object: nothing is said of what equals, or changed meanwhile."""
        failed = finding.outcome in (Outcome.DIFFERS, Outcome.NOT_COMPARED)
        self.progress.did(size=finding.record.size, failed=failed)
        if not failed:
            return
        if self._as_json:
            say_json(finding_json(finding))
            return
        for line in finding_lines(finding):
            say(line)

    def sum_up(self, seed: int, *, stopped: bool) -> None:
        """The end."""
        order, tally = self._verifier.order, self._verifier.tally
        if self._as_json:
            say_json(summary_json(order, tally, seed, stopped=stopped))
            return
        for line in summary_lines(order, tally, seed, stopped=stopped):
            say(line)


def finding_json(finding: Finding) -> Mapping[str, Any]:
    """A difference, or what could not be compared, for machines."""
    return {
        "event": "difference" if finding.outcome is Outcome.DIFFERS else "not_compared",
        "bucket": finding.record.bucket,
        "key": finding.record.key,
        "differences": [
            {"what": difference.what, "here": difference.here, "there": difference.there}
            for difference in finding.differences
        ],
        "reason": finding.reason,
        "repair": finding.repair,
    }


def finding_lines(finding: Finding) -> list[str]:
    """The same for people."""
    key = printable(finding.record.key)
    if finding.outcome is Outcome.NOT_COMPARED:
        return [f"not compared: {key}: {finding.reason}"]
    lines = [f"differs: {key}: {printable(str(difference))}" for difference in finding.differences]
    return [*lines, f"repair: {key}: {finding.repair}"] if finding.repair else lines


def summary_json(order: VerifyOrder, tally: Tally, seed: int, *, stopped: bool) -> Mapping[str, Any]:
    """The end, for machines."""
    return {
        "event": "summary",
        "bucket": order.bucket,
        "prefix": order.prefix,
        "deep": order.deep,
        "written": order.written,
        "share": order.share,
        "seed": seed if order.share < 1.0 else None,
        "stopped": stopped,
        "compared": tally.compared,
        "equal": tally.equal,
        "differed": tally.differed,
        "not_compared": tally.not_compared,
        "changed": tally.changed,
        "repaired": tally.repaired,
        "bytes_read": tally.bytes_read,
    }


def summary_lines(order: VerifyOrder, tally: Tally, seed: int, *, stopped: bool) -> list[str]:
    """The same for people."""
    lines = [
        f"{'stopped: ' if stopped else ''}{order.bucket}: {tally.compared} compared, {tally.equal} equal, "
        f"{tally.differed} differ, {tally.not_compared} could not be compared, "
        f"{tally.changed} changed meanwhile and were left out"
    ]
    if tally.bytes_read:
        lines.append(f"{size_text(tally.bytes_read)} were read back from Telegram and have their hashes")
    if order.share < 1.0:
        lines.append(f"a sample of {order.share:.4%}; --seed {seed} draws the same one again")
    if tally.repaired:
        lines.append(
            f"{tally.repaired} copies were forgotten and ordered anew: a running proxy makes them, or tgstore migrate"
        )
    if tally.not_compared:
        lines.append("what could not be compared proves nothing: run it again when the reasons are gone")
    return lines
