"""An ASGI application in, a server for it out: uvicorn, with limits on what comes before a body."""

import math
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0  # for headers to arrive, or for the rest of a body whose request has been answered
HEADER_BYTES = 2**16  # that a request may have before its body
MOST_CONNECTIONS = 900  # of the 1,024 files that a process may usually have open


class Protocol(HttpToolsProtocol):
    """uvicorn's, which alone would wait for headers for ever, read them without end, and wait for unread bodies."""

    def connection_made(self, transport):
        super().connection_made(transport)
        # asyncio does so for sockets that it has made itself. uvicorn writes an answer in two pieces: the second would
        # wait for the client's acknowledgement of the first, 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_headers()

    def connection_lost(self, exc):
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data):
        super().data_received(data)
        if self._awaits_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.transport.close()

    def on_message_begin(self):
        super().on_message_begin()
        if not self._awaits_headers:
            self._await_headers()

    def on_headers_complete(self):
        self._awaits_headers = False
        self._timer.cancel()
        super().on_headers_complete()

    def on_message_complete(self):
        self._timer.cancel()
        super().on_message_complete()

    def on_response_complete(self):
        if self.cycle.more_body:  # closed at once, the connection would be reset before its client has read the answer
            self._timer = self._close_later()
        super().on_response_complete()

    def _await_headers(self):
        self._awaits_headers, self._header_bytes = True, 0
        self._timer = self._close_later()

    def _close_later(self):
        return self.loop.call_later(HEADER_SECONDS, self.timeout_keep_alive_handler)


def http_server(app, stop_seconds):
    """A `uvicorn.Server`; `run(sockets=[socket])` serves until SIGTERM or Ctrl-C, then finishes what it took in.

    Args:
        app: ASGI application.
        stop_seconds: how long that may take.
    """
    return uvicorn.Server(uvicorn.Config(
        app, interface="asgi3", http=Protocol, ws="none", lifespan="on", log_config=None, log_level="warning",
        access_log=False, server_header=False, timeout_keep_alive=60, limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=math.ceil(stop_seconds)))
