"""Says which clients the end-to-end tests drive on this machine, at which versions, and why others are left out."""

from __future__ import annotations

from tests.end_to_end.lab.clients import Chromium, PicGo, Restic, folder_clients, mount_clients


def main() -> None:
    clients = [*(client for client, _ in folder_clients()), *(client for client, _ in mount_clients())]
    told = {client.name: client for client in [*clients, Restic(), PicGo(), Chromium()]}
    for name, client in told.items():
        reason = client.why_not_here()
        print(f"{name:16}{'left out: ' + reason if reason else client.version()}")


main()
