"""The least RTSP server that a client accepts: one MPEG transport stream over its connection."""

from __future__ import annotations

import socketserver
import struct
import threading
import time

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track1\r\n"
)
_PACKET = 7 * 188


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        while (request := self._request()) is not None:
            method, number = request
            self.server.methods.append(method)
            extra, body = "", ""
            if method == "OPTIONS":
                extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = _SDP
                extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif method == "PLAY":
                extra = "Session: 1\r\n"
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra}\r\n{body}".encode())
            if method == "PLAY":
                self._play()
                return
            if method == "TEARDOWN":
                return

    def _request(self):
        line = self.rfile.readline().decode().split()
        number = "0"
        while header := self.rfile.readline().decode().strip():
            if header.lower().startswith("cseq:"):
                number = header.split(":")[1].strip()
        return (line[0], number) if line else None

    def _play(self):
        """Send the stream in real time, then fall silent for a while, then hang up."""
        data, seconds = self.server.stream, self.server.seconds
        packets = range(0, len(data), _PACKET)
        start_s = time.monotonic()
        for k, at in enumerate(packets):
            stamp = int(90_000 * seconds * k / len(packets))
            rtp = struct.pack(">BBHII", 0x80, 33, k & 0xFFFF, stamp, 1) + data[at : at + _PACKET]
            try:
                self.wfile.write(b"$\0" + struct.pack(">H", len(rtp)) + rtp)
            except OSError:
                return
            due_s = start_s + seconds * (k + 1) / len(packets)
            time.sleep(max(0.0, due_s - time.monotonic()))
        time.sleep(self.server.silence_s)


class RtspCamera(socketserver.ThreadingTCPServer):
    """Plays ``stream`` (MPEG-TS bytes of ``seconds``) to each client that asks."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, stream: bytes, seconds: float, silence_s: float = 0.0, port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), _Session)
        self.stream, self.seconds, self.silence_s = stream, seconds, silence_s
        self.methods: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def address(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.server_address[1]}/live"
