"""HTTP/2 by hand: header fields exactly as given, also those that a proper client would not send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from tests.proxy.raw_http import LIMIT_S, READ_BYTES

Fields = Sequence[tuple[str, str]]


@dataclass
class Http2Answer:
    """`status` is 0 where the stream or the connection ended without an answer."""

    status: int = 0
    headers: Fields = ()
    body: bytes = b""
    interim: int = 0


class Http2Connection:
    """One connection to 127.0.0.1."""

    def __init__(self, port: int, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self._socket = context.wrap_socket(plain, server_hostname="localhost")
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"
            )
        )
        self._h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Http2Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def request(self, fields: Fields, pieces: Iterable[bytes] = ()) -> Http2Answer:
        """Send header fields and body, and read until the answer is complete; stops sending when it comes early."""
        stream_id = self._h2.get_next_available_stream_id()
        pieces = list(pieces) if not hasattr(pieces, "__next__") else pieces
        has_body = bool(pieces)
        answer = Http2Answer()
        try:
            self._h2.send_headers(stream_id, fields, end_stream=not has_body)
            self._flush()
            for piece in pieces:
                while self._h2.local_flow_control_window(stream_id) < len(piece):
                    if self._receive(stream_id, answer):
                        return answer
                self._h2.send_data(stream_id, piece)
                self._flush()
            if has_body:
                self._h2.end_stream(stream_id)
                self._flush()
            while not self._receive(stream_id, answer):
                pass
        except (OSError, EOFError):
            pass
        return answer

    def begin(self, fields: Fields) -> int:
        """Send a request without a body and wait for nothing; returns its stream's number."""
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, fields, end_stream=True)
        self._flush()
        return stream_id

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _receive(self, stream_id: int, answer: Http2Answer) -> bool:
        """Take what has come; True where nothing more will come of this stream."""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise EOFError
        ended = False
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                ended = True
            if getattr(event, "stream_id", None) != stream_id:
                continue
            match event:
                case h2.events.InformationalResponseReceived():
                    answer.interim += 1
                case h2.events.ResponseReceived():
                    fields = dict(event.headers)
                    answer.status, answer.headers = int(fields[":status"]), list(event.headers)
                case h2.events.DataReceived():
                    answer.body += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    ended = True
        self._flush()
        return ended


def pseudo(method: str, path: str, host: str | None) -> list[tuple[str, str]]:
    """The pseudo-header fields of a request; without `:authority` where `host` is None."""
    fields = [(":method", method), (":scheme", "https"), (":path", path)]
    return fields if host is None else [*fields, (":authority", host)]
