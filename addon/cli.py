"""The `tgstore` commands."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from addon.checks import check_all
from addon.commands import running
from addon.commands.output import console
from addon.standin import command as standin_command
from addon.store.probe import ProbeResult

app = typer.Typer(
    name="tgstore",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they hold tokens and keys
    help="Keeps an S3 bucket's objects in Telegram. The proxy itself runs as: mitmdump -s addon/tgstore.py",
)
import_app = typer.Typer(no_args_is_help=True, help="Take over what is kept in Telegram already.")
app.add_typer(import_app, name="import")
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", help="The configuration file; else TGSTORE_CONFIG, else config.toml in this folder."
    ),
]

BucketArgument = Annotated[str, typer.Argument(metavar="BUCKET", help="The bucket's name in the settings.")]
PrefixOption = Annotated[str, typer.Option("--prefix", help="Only keys that begin with this.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines: one JSON document in a line.")]
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="For machines: JSON lines, of which the last one is the summary.")
]


@app.command()
def check(
    config: ConfigOption = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Send nothing to Telegram, and print failures only.")
    ] = False,
) -> None:
    """Try every setting, and say what to do where one fails. Exit status 1 if any does.

    Sends a small document to each chat by each bot, edits, pins and deletes it.
    """
    results = running.run(check_all(running.settings(config), telegram_writes=not quiet))
    for result in results:
        if not (quiet and result.ok):
            console.print(_line(result))
    failed = sum(not result.ok for result in results)
    console.print(
        f"{len(results) - failed} of {len(results)} are right." if failed else f"All {len(results)} are right."
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def status(
    buckets: Annotated[list[str] | None, typer.Argument(metavar="[BUCKET]...", help="Else all buckets.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        float | None, typer.Option("--watch", "-w", min=0.1, metavar="SECONDS", help="Again and again, until Ctrl-C.")
    ] = None,
    named: Annotated[int, typer.Option("--named", min=0, help="So many failed and skipped keys are named.")] = 20,
) -> None:
    """Say where buckets stand: what has moved, waits, failed or was skipped and why, and what was verified when."""
    from addon.commands.status import show_status

    settings = running.settings(config)
    names = [running.bucket_of(settings, name).name for name in buckets or [bucket.name for bucket in settings.buckets]]
    running.run(show_status(settings, names, as_json=as_json, watch_s=watch, named_max=named))


@app.command()
def drain(config: ConfigOption = None, as_json: JsonLinesOption = False) -> None:
    """Wait until nothing waits on this machine's disk any more: all that was acknowledged is in Telegram then.

    Needed with store.ack = "spool" only, before the machine or its disk goes. Where no proxy runs, the command sends what waits.
    Exit status 1 if something that was acknowledged is lost.
    """
    from addon.commands.drain import drain as run_drain

    is_whole = running.run(run_drain(running.settings(config), as_json=as_json))
    raise typer.Exit(0 if is_whole else 1)


@app.command()
def migrate(
    bucket: BucketArgument,
    config: ConfigOption = None,
    prefix: PrefixOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, and count what has not moved.")] = False,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", min=1, max=64, help="Copies at once; else copies.concurrency of the settings."),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option("--max-bytes", metavar="SIZE", help='Order and copy no more than this in one run, like "500MB".'),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    retry_skipped: Annotated[bool, typer.Option("--retry-skipped", help="Try again what was skipped.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Move a whole bucket: list the origin, and copy into Telegram what has not moved.

    Ctrl-C stops it, and running it again goes on. It never overwrites what was written here, and never brings back what was deleted
    here. While a proxy runs on the same index, the proxy does the copying, and this shows how far it is. Exit status 1 if a key
    could not be moved.
    """
    from addon.commands.migrate import migrate as run_migrate
    from addon.store.records import CopyState
    from addon.store.sweep import SweepLimits

    settings = running.settings(config)
    limits = SweepLimits(prefix, running.size_of(max_bytes), concurrency or settings.copies.concurrency)
    retry = [CopyState.FAILED] * retry_failed + [CopyState.SKIPPED] * retry_skipped
    chosen = running.bucket_of(settings, bucket)
    running.run(run_migrate(settings, chosen, limits, retry=retry, dry_run=dry_run, as_json=as_json))


@app.command()
def retire(
    bucket: BucketArgument,
    config: ConfigOption = None,
    leave_skipped: Annotated[
        bool, typer.Option("--leave-skipped", help="Give up the keys that were skipped, with the origin.")
    ] = False,
) -> None:
    """Make an end of a bucket's origin: from then on nothing connects to it, and it may be switched off.

    Refuses, and says why, while a key waits, failed, was skipped or was never verified, and while the origin lists a key that
    is not here.
    """
    from addon.commands.retire import retire as run_retire

    settings = running.settings(config)
    running.run(run_retire(settings, running.bucket_of(settings, bucket), leave_skipped=leave_skipped))


@app.command()
def unretire(bucket: BucketArgument, config: ConfigOption = None) -> None:
    """Undo `retire`: the bucket's origin is asked again. What it got meanwhile past tgstore moves as before."""
    from addon.commands.retire import unretire as run_unretire

    settings = running.settings(config)
    running.run(run_unretire(settings, running.bucket_of(settings, bucket)))


@app.command()
def verify(
    bucket: BucketArgument,
    config: ConfigOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read the bytes back from Telegram, and hash them.")] = False,
    written: Annotated[
        bool, typer.Option("--written", help="Objects written here too: their bytes against their own hashes.")
    ] = False,
    sample: Annotated[
        str, typer.Option("--sample", metavar="PERCENT", help="Only so many, drawn at random over the whole bucket.")
    ] = "100%",
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Draw the same sample again.")] = None,
    prefix: PrefixOption = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="So many objects at once.")] = 8,
    repair: Annotated[
        bool, typer.Option("--repair", help="Forget each copy that differs, and order it anew from the origin.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Compare each object that moved with the origin: existence, size, ETag, headers, metadata and tags.

    Differences are reported, and nothing is changed without --repair. Exit status 1 where something differs or could not be
    compared.
    """
    from addon.commands import verify as command
    from addon.store.verifier import VerifyOrder

    settings = running.settings(config)
    order = VerifyOrder(
        running.bucket_of(settings, bucket).name,
        prefix=prefix,
        deep=deep,
        written=written,
        repair=repair,
        share=command.share_of(sample),
        concurrency=concurrency,
    )
    is_clean = running.run(command.verify(settings, order, seed=seed, as_json=as_json))
    raise typer.Exit(0 if is_clean else 1)


@app.command()
def export(
    bucket: BucketArgument,
    config: ConfigOption = None,
    copies: Annotated[
        bool, typer.Option("--all", help="Copies too, where the origin has none: to fill another bucket.")
    ] = False,
    keep_theirs: Annotated[
        bool, typer.Option("--keep-theirs", help="Replace nothing; list where the origin has another object.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete there, too, what was deleted here.")] = False,
    prefix: PrefixOption = "",
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="So many objects at once.")] = 4,
    although_retired: Annotated[
        bool, typer.Option("--although-retired", help="Write to a retired bucket's origin: to another one, by now.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Write what is only in Telegram back to the origin, with all headers, tags and the same ETag, and prove each write.

    What was written here replaces what the origin has under its key. What it has already is not written again, so that it can
    be stopped and run again at any time. Exit status 1 where something failed.
    """
    from addon.commands import export as command
    from addon.store.exporter import ExportOrder

    settings = running.settings(config)
    order = ExportOrder(
        running.bucket_of(settings, bucket).name,
        prefix=prefix,
        copies=copies,
        keep_theirs=keep_theirs,
        delete=delete,
        dry_run=dry_run,
        concurrency=concurrency,
    )
    is_clean = running.run(command.export(settings, order, although_retired=although_retired, as_json=as_json))
    raise typer.Exit(0 if is_clean else 1)


@app.command()
def gc(
    config: ConfigOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and why the rest stays.")
    ] = False,
    keep_snapshots: Annotated[
        bool, typer.Option("--keep-snapshots", help="Leave what snapshots of the index within their time need.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Erase now, in Telegram, what was deleted and replaced: messages are deleted, those older than 48 hours get a placeholder.

    Ctrl-C stops it, and running it again goes on. Exit status 1 where something could not be erased.
    """
    from addon.commands import gc as command

    settings = running.settings(config)
    order = command.GcOrder(dry_run=dry_run, keep_snapshots=keep_snapshots)
    is_clean = running.run(command.gc(settings, order, as_json=as_json))
    raise typer.Exit(0 if is_clean else 1)


@app.command()
def repair(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be restored.")] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Restore what documents lost with a chat: their second copy, and an address in a chat that works.

    Nothing is uploaded. It can be stopped and run again, and beside a running proxy it leaves it half of a burst of messages. Exit
    status 1 where a document could not be restored.
    """
    from addon.commands import repair as command

    is_clean = running.run(command.repair(running.settings(config), dry_run=dry_run, as_json=as_json))
    raise typer.Exit(0 if is_clean else 1)


@app.command()
def snapshot(
    config: ConfigOption = None,
    accept_shrunken: Annotated[
        bool,
        typer.Option(
            "--accept-shrunken",
            help="Pin it although the one that is pinned has far more objects, or belongs to another index.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Save the index in Telegram now: a copy of it is sent, and pinned in each chat.

    A running proxy does it by itself, every store.snapshot_interval_s. Exit status 1 where the copy was sent but not pinned.
    """
    from addon.commands.snapshot import take_snapshot

    is_pinned = running.run(take_snapshot(running.settings(config), accept=accept_shrunken, as_json=as_json))
    raise typer.Exit(0 if is_pinned else 1)


@app.command()
def recover(
    config: ConfigOption = None,
    from_messages: Annotated[
        bool, typer.Option("--from-messages", help="Make nothing of saved indexes; read every message.")
    ] = False,
    take_untold: Annotated[
        bool,
        typer.Option("--take-untold", help="Take objects, too, that no document tells of any more, or never did."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is, and how long it would take.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Make the index again from nothing but the chats: from the newest saved one, and every message that it does not know.

    Only where there is no index, or an empty one; the proxy must not run. Ctrl-C stops it, and running it again goes on. Exit
    status 1 where something could not be read or is lost.
    """
    from addon.commands.recover import recover as run_recover

    settings = running.settings(config)
    work = run_recover(
        settings, with_snapshots=not from_messages, take_untold=take_untold, dry_run=dry_run, as_json=as_json
    )
    raise typer.Exit(0 if running.run(work) else 1)


@import_app.command("d1")
def import_d1(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A SQLite file, or the dump of wrangler d1 export.")],
    config: ConfigOption = None,
    table: Annotated[str, typer.Option(help="The table that holds the links.")] = "media",
    url_column: Annotated[str, typer.Option(help="Its column with the full URL of each object.")] = "url",
    file_id_column: Annotated[str, typer.Option(help="Its column with the file_id of each file.")] = "fileId",
    time_column: Annotated[
        str | None,
        typer.Option(help="Its column with the time of upload (seconds, milliseconds, ISO 8601); else it is now."),
    ] = None,
    read: Annotated[
        bool, typer.Option("--read", help="Read each file once (recommended): its hashes, MD5 and type are known then.")
    ] = False,
    anchor: Annotated[
        bool,
        typer.Option(
            "--anchor", help="Send each file again by its file_id, so that it does not depend on it: one message each."
        ),
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Do not let anyone read the imported objects.")] = False,
    prefer_import: Annotated[
        bool, typer.Option("--prefer-import", help="Also take keys that the bucket's origin holds.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be taken; ask getFile, write nothing.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=10, help="So many files at once.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Take over the files of a worker that kept them in Telegram, from an export of its D1 table.

    The bots in the settings must be those that the file_ids belong to. A key that is known already is left alone. Exit status 1 if
    something could not be taken; run it again, and it goes on.
    """
    from addon.commands.d1_export import ExportColumns
    from addon.commands.import_d1 import import_d1 as run_import
    from addon.store.importer import ImportWish

    columns = ExportColumns(table, url_column, file_id_column, time_column)
    wish = ImportWish(
        read=read,
        anchor=anchor,
        anonymous_read=not private,
        prefer_import=prefer_import,
        dry_run=dry_run,
        concurrency=concurrency,
    )
    running.run(run_import(running.settings(config), file, columns, wish, as_json=as_json))


@app.command("new-key")
def new_key() -> None:
    """Print a new key for the settings' [encryption]: 32 random bytes as base64."""
    from addon.commands.sealing import show_new_key

    show_new_key()


@app.command()
def unseal(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An encrypted document, as Telegram gives it.")],
    into: Annotated[Path, typer.Argument(metavar="INTO", help="The new file that gets its content.")],
    config: ConfigOption = None,
) -> None:
    """Decrypt a document that was downloaded by hand, with the keys of the settings."""
    from addon.commands import sealing as command

    command.unseal(running.settings(config), file, into)


def _line(result: ProbeResult) -> str:
    mark = "[green]ok[/green]    " if result.ok else "[red]FAILED[/red]"
    text = f"{mark} {escape(result.subject)}: {escape(result.detail)}"
    return text if result.ok or not result.advice else f"{text}\n       → {escape(result.advice)}"


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def standin(context: typer.Context) -> None:
    """Run the local stand-in for Telegram's Bot API, to try things out (tgstore standin --help)."""
    raise typer.Exit(standin_command.main(context.args))


@app.command()
def version() -> None:
    """Print the version."""
    console.print(f"tgstore {package_version('tgstore')}, Python {sys.version.split()[0]}")


def main() -> None:
    """Entry point of the `tgstore` program."""
    app()


if __name__ == "__main__":
    main()
