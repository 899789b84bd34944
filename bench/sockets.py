"""WebSockets that only count: as many clients as a bench wants, in one thread."""

from __future__ import annotations

import base64
import json
import os
import select
import socket

from harness import Server, connect

TEXT = 0x81
"""A whole message of text, the first byte of its frame."""


class Client:
    """One connection. Messages are bytes of JSON."""

    def __init__(self, server: Server, path: str, protocol: str | None = None) -> None:
        self.socket = connect(server)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(65536)
        head, _, self._buffer = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise SystemExit(head.decode())

    def send(self, message: object) -> None:
        payload = json.dumps(message).encode()
        mask = os.urandom(4)
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(bytes([TEXT]) + length + mask + masked)

    def receive(self) -> list[bytes]:
        """The messages that have arrived whole; waits for more bytes."""
        received = self.socket.recv(262144)
        if not received:
            raise SystemExit("the server has closed a WebSocket")
        data = self._buffer + received
        messages, start = [], 0
        while len(data) - start >= 4:
            size, begin = data[start + 1], start + 2
            if size == 126:
                size, begin = int.from_bytes(data[begin : begin + 2], "big"), begin + 2
            if len(data) < begin + size:
                break
            if data[start] == TEXT:
                messages.append(data[begin : begin + size])
            start = begin + size
        self._buffer = data[start:]
        return messages


def receive_until(clients: list[Client], last: bytes) -> int:
    """Receive until each client has had a message that contains `last`; how many messages came."""
    polling = select.epoll()
    waiting = {client.socket.fileno(): client for client in clients}
    for number in waiting:
        polling.register(number, select.EPOLLIN)
    count = 0
    while waiting:
        for number, _ in polling.poll():
            messages = waiting[number].receive()
            count += len(messages)
            if any(last in message for message in messages):
                polling.unregister(number)
                del waiting[number]
    return count


def close(clients: list[Client]) -> None:
    for client in clients:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.close()
