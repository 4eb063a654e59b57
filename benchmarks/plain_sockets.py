"""How fast the file server can send: plain sockets ask for each link and drop what comes.

``python -m benchmarks.plain_sockets <table> <connections>``, with the three settings of DAP in the
environment. Prints the seconds from the first request for a file to the last byte.
"""

from __future__ import annotations

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.plain_requests import links

_ROOM = 1 << 20


def main(table: str, connections: int) -> None:
    """Drain the files of a table's snapshot."""
    urls = links(table)
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(drain, urls))
    print(time.perf_counter() - began)


def drain(url: str) -> int:
    """Ask for a link and drop what comes; gives the number of bytes, those of the head too."""
    at, buffer, received = urlsplit(url), bytearray(_ROOM), 0
    asked = f"GET {at.path}?{at.query} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n"
    with socket.create_connection((at.hostname, at.port)) as connection:
        connection.sendall(asked.encode())
        # The server ends its answer once nobody can ask for more.
        connection.shutdown(socket.SHUT_WR)
        # With this flag nothing is copied: what is told is the room that was given back.
        while count := connection.recv_into(buffer, _ROOM, socket.MSG_TRUNC):
            received += count
    return received


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
