"""The socket that a server listens on."""

from __future__ import annotations

import asyncio
import socket

from mission_system.core.settings import Settings
from mission_system.web.serve import _listener


async def test_answers_do_not_wait_for_the_clients_acknowledgement(tmp_path) -> None:
    accepted: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
    with _listener(Settings(port=0, data=tmp_path)) as listener:
        server = await asyncio.start_server(
            lambda _, writer: accepted.set_result(writer.get_extra_info("socket")), sock=listener
        )
        _, client = await asyncio.open_connection(*listener.getsockname()[:2])
        sock = await accepted
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.close()
        server.close()
