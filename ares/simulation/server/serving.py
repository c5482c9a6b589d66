"""The local venue over real sockets: uvicorn on loopback, ready when it says so."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from ares.errors import InvalidInput
from ares.simulation.server.local_venue import LocalVenue

__all__ = ["serve"]


async def serve(
    venue: LocalVenue,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    ready: Callable[[str, str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve until cancelled, or until `until` is set.

    port: 0 takes a free one. ready: called once with the addresses of REST and of the streams.
    Raises: InvalidInput when the extra `ares[serve]` is missing or the port is taken.
    """
    try:
        import uvicorn

        from ares.simulation.server.app import Dropped, application
    except ImportError:
        raise InvalidInput("serving needs the extra: pip install 'ares-trading[serve]'") from None
    listener = _listen(host, port)
    venue.warm()
    config = uvicorn.Config(
        application(venue),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws_ping_interval=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    quiet = _quiet_about(Dropped)
    logging.getLogger("uvicorn.error").addFilter(quiet)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the caller decides when to end
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise InvalidInput("the server did not start")
            await asyncio.sleep(0.01)
        where = f"{host}:{listener.getsockname()[1]}"
        if ready is not None:
            ready(f"http://{where}", f"ws://{where}")
        if until is not None:
            stop = asyncio.ensure_future(until.wait())
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
        else:
            await asyncio.shield(task)
    finally:
        server.should_exit = True
        await task
        logging.getLogger("uvicorn.error").removeFilter(quiet)


def _quiet_about(kind: type[BaseException]) -> Callable[[logging.LogRecord], bool]:
    """A filter of log records that passes all but those of such an exception."""

    def passes(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], kind))

    return passes


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that names its protocol: asyncio sends small answers at once only on such."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise InvalidInput(f"cannot listen on {host}:{port}: {error.strerror}", port=port) from None
    return listener
