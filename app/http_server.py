"""An ASGI application in, a server for it out: uvicorn, with limits on what clients may keep it waiting for."""

import math
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLIENT_SECONDS = 10.0  # for headers to arrive, the rest of a body whose request has been answered, or to take an answer
IDLE_SECONDS = 60  # between an answer and the next request
HEADER_BYTES = 2**16  # that a request may have before its body
# A process may usually have 1,024 files open.
MOST_CONNECTIONS = 800  # that models answer
REFUSED_CONNECTIONS = 50  # further ones that are told so, or ask for the server's health; any more are closed at once
TAKEN_AT_ONCE = 16  # by asyncio, before it tells any of them to the protocol, which may close it


class Protocol(HttpToolsProtocol):
    """uvicorn's, which alone would wait for headers, for unread bodies and for readers for ever, and read all headers.

    At any time a request is under way or a timer runs that closes the connection. In `scope["state"]` the application
    finds "is_surplus": there are too many connections, this one is closed after its answer.
    """

    def connection_made(self, transport):
        super().connection_made(transport)
        self._is_surplus = len(self.connections) > MOST_CONNECTIONS
        if len(self.connections) > MOST_CONNECTIONS + REFUSED_CONNECTIONS:
            transport.abort()
        # asyncio does so for sockets that it has made itself. uvicorn writes an answer in two pieces: the second would
        # wait for the client's acknowledgement of the first, 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(0)  # `pause_writing` whenever the client takes less than is there
        self._timer = self._writing_timer = None
        self._await_headers()

    def connection_lost(self, exc):
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data):
        awaited_headers = self._awaits_headers
        super().data_received(data)
        if awaited_headers and self._awaits_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES:
                self.transport.close()

    def on_message_begin(self):
        if self.cycle and not self.cycle.response_complete:
            # Sent before the answer to the one before, which is the last on this connection: the time of one and the
            # bytes of the other could not be told apart.
            self.cycle.keep_alive = False
        elif not self._awaits_headers:
            self._await_headers()
        super().on_message_begin()

    def on_headers_complete(self):
        self._awaits_headers = False
        self._stop_timer()
        self.scope["state"]["is_surplus"] = self._is_surplus
        super().on_headers_complete()
        if self._is_surplus:
            self.cycle.keep_alive = False

    def on_message_complete(self):
        if self.cycle.response_complete:
            self._close_after(IDLE_SECONDS)
        super().on_message_complete()

    def on_response_complete(self):
        # Closed at once, the connection would be reset before a client that still sends has read the answer.
        self._close_after(CLIENT_SECONDS if self.cycle.more_body else IDLE_SECONDS)
        super().on_response_complete()

    def pause_writing(self):
        super().pause_writing()
        self._writing_timer = self.loop.call_later(CLIENT_SECONDS, self.transport.abort)

    def resume_writing(self):
        super().resume_writing()
        if self._writing_timer:
            self._writing_timer.cancel()

    def _await_headers(self):
        self._awaits_headers, self._header_bytes = True, 0
        self._close_after(CLIENT_SECONDS)

    def _close_after(self, seconds):
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self):
        if self._timer:
            self._timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's, with a queue for connections that is longer than what asyncio takes from it at once."""

    async def startup(self, sockets):
        await super().startup(sockets)
        for listener in sockets:
            listener.listen(2048)


def http_server(app, stop_seconds):
    """A `Server`; `run(sockets=[socket])` serves until SIGTERM or Ctrl-C, then finishes what it took in.

    Args:
        app: ASGI application.
        stop_seconds: how long that may take.
    """
    return Server(uvicorn.Config(
        app, interface="asgi3", http=Protocol, ws="none", lifespan="on", log_config=None, log_level="warning",
        access_log=False, server_header=False, backlog=TAKEN_AT_ONCE, timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=math.ceil(stop_seconds)))
