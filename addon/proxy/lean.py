"""mitmproxy runs each hook through some forty built-in addons; a proxy for a bucket needs few of them.

Two thirds of a small request's time is that dispatch, and one of them, the dumper, prints whole URLs: a presigned query is a
credential and must stand in no log. An addon stays where the operator set one of its options.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mitmproxy import ctx

# Name of each built-in addon that goes, with the options whose use keeps it. The dumper goes in any case.
UNNEEDED: Mapping[str, tuple[str, ...]] = {
    "anticache": ("anticache",),
    "anticomp": ("anticomp",),
    "blocklist": ("block_list",),
    "browser": (),
    "comment": (),
    "commandhistory": (),
    "cut": (),
    "dumper": (),
    "export": (),
    "keepserving": ("rfile", "client_replay", "server_replay"),
    "maplocal": ("map_local",),
    "mapremote": ("map_remote",),
    "modifybody": ("modify_body",),
    "modifyheaders": ("modify_headers",),
    "onboarding": (),
    "proxyauth": ("proxyauth",),
    "readfilestdin": ("rfile",),
    "save": ("save_stream_file",),
    "savehar": ("hardump",),
    "serverplayback": ("server_replay",),
    "stickyauth": ("stickyauth",),
    "stickycookie": ("stickycookie",),
    "stripdnshttpsrecords": (),
    "updatealtsvc": ("keep_alt_svc_header",),
    "upstreamauth": ("upstream_auth",),
}


# mitmproxy's own line for each connection and each stream, and uvicorn's; ours for each request stands in their place.
CHATTY_LOGGERS = ("mitmproxy.proxy.server", "uvicorn.error")


def quieten_logs() -> None:
    """Warnings only from loggers that would write several lines for each request."""
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def remove_unneeded_addons() -> list[str]:
    """Take them out; returns the names of the ones that went."""
    removed = []
    for name, options in UNNEEDED.items():
        addon = ctx.master.addons.get(name)
        if addon is None or any(_is_set(option) for option in options):
            continue
        ctx.master.addons.remove(addon)
        removed.append(name)
    return removed


def _is_set(option: str) -> bool:
    return option in ctx.options and ctx.options.has_changed(option)
