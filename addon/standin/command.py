"""The stand-in as a program: `python -m addon.standin --folder DIR`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from addon.standin.chats import ChatSpec
from addon.standin.server import DEFAULT_BOTS, DEFAULT_CHATS, StandIn
from addon.standin.switches import Switches

_EPILOG = """\
Point a Bot API client at the URL that is printed, in the place of https://api.telegram.org. Everything is kept in the folder and
is there again after a restart. Chats are made once; every bot is an administrator of every chat. A chat is written ID:TYPE or
ID:TYPE:TITLE, with private, group, supergroup or channel as TYPE.
"""


def run(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8081,
    control_port: int | None = None,
    bots: Sequence[str] = DEFAULT_BOTS,
    chats: Sequence[ChatSpec | str] = DEFAULT_CHATS,
    seed: int = 0,
    switches: Switches | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status is returned. `stand-in ready: URL` is printed when it listens.

    Raises ValueError for a token or chat that is wrong, OSError where the port or the folder cannot be used.
    """
    standin = StandIn(
        folder,
        host=host,
        port=port,
        control_port=control_port,
        bots=bots,
        chats=chats,
        seed=seed,
        switches=switches or Switches(throttle_delay="real"),
    )
    asyncio.run(_serve(standin))
    return 0


async def _serve(standin: StandIn) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with standin:
        print(f"stand-in ready: {standin.url}", flush=True)
        if standin.control_url:
            print(f"stand-in control: {standin.control_url}", flush=True)
        await stopped.wait()
    for crash in standin.crashes:
        print(crash, file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    """The options of the program."""
    parser = argparse.ArgumentParser(
        prog="tgstore standin",
        description="A local stand-in for Telegram's Bot API, with its limits: for trying tgstore out and for tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where messages and files are kept")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--control-port",
        type=int,
        metavar="PORT",
        help="also listen here for orders (faults, log, clock, chats, state); without it there is no control port",
    )
    parser.add_argument(
        "--bot",
        action="append",
        dest="bots",
        metavar="TOKEN",
        help=f"a bot's token, NUMBER:SECRET; may be repeated (default: two sample bots, the first {DEFAULT_BOTS[0]})",
    )
    parser.add_argument(
        "--chat",
        action="append",
        dest="chats",
        metavar="ID:TYPE",
        help="a chat; may be repeated (default: one channel, -1001234567890)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides the file_ids of a new folder, and chance in faults"
    )
    _add_switches(parser)
    return parser


def _add_switches(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("behaviour")
    on_off = ("on", "off")
    group.add_argument(
        "--rate-limits",
        choices=("exact", "generous", "off"),
        default="exact",
        help="flood control: Telegram's (20 messages a minute and chat), forty times as much, or none (default: %(default)s)",
    )
    group.add_argument(
        "--equal-size-throttle",
        choices=on_off,
        default="on",
        help="delay and refuse many uploads of the very same size, as the real server does (default: %(default)s)",
    )
    group.add_argument(
        "--throttle-delay",
        choices=("real", "virtual"),
        default="real",
        help="whether that delay is waited for, or only written into the log (default: %(default)s)",
    )
    group.add_argument(
        "--range", choices=on_off, default="off", help="whether the file host honours Range (default: %(default)s)"
    )
    group.add_argument(
        "--upload-limit", type=int, metavar="BYTES", help="largest upload (default: 50 MiB, with --local 2000 MiB)"
    )
    group.add_argument(
        "--path-lifetime",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="how long a file_path is good for (default: %(default)s)",
    )
    group.add_argument(
        "--dedupe", choices=on_off, default="off", help="equal files share one file_unique_id (default: %(default)s)"
    )
    group.add_argument(
        "--delete-kills-file",
        choices=on_off,
        default="off",
        help="a file_id dies with the last message that uses it (default: %(default)s)",
    )
    group.add_argument(
        "--local",
        action="store_true",
        help="behave like a local Bot API server started with --local: no HTTP file host",
    )


def _switches(arguments: argparse.Namespace) -> Switches:
    throttle_delay: Literal["real", "virtual"] = "real" if arguments.throttle_delay == "real" else "virtual"
    return Switches(
        range_support=arguments.range == "on",
        upload_limit_bytes=arguments.upload_limit,
        path_lifetime_s=arguments.path_lifetime,
        dedupe=arguments.dedupe == "on",
        delete_kills_file=arguments.delete_kills_file == "on",
        local=arguments.local,
        rate_limits=arguments.rate_limits,
        equal_size_throttle=arguments.equal_size_throttle == "on",
        throttle_delay=throttle_delay,
    )


def _with_chats_joined(argv: Sequence[str]) -> list[str]:
    """Write `--chat -100...` as `--chat=-100...`: argparse would take the number of a channel for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--chat":
            joined[-1] = f"--chat={argument}"
        else:
            joined.append(argument)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options and serve; 2 is returned, with the reason on standard error, where they cannot be used."""
    arguments = make_parser().parse_args(_with_chats_joined(sys.argv[1:] if argv is None else argv))
    try:
        return run(
            arguments.folder,
            host=arguments.host,
            port=arguments.port,
            control_port=arguments.control_port,
            bots=arguments.bots or DEFAULT_BOTS,
            chats=arguments.chats or DEFAULT_CHATS,
            seed=arguments.seed,
            switches=_switches(arguments),
        )
    except (ValueError, OSError) as error:
        print(f"tgstore standin: {error}", file=sys.stderr)
        return 2
