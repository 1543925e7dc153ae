"""An admin port that answers what a test wants, and remembers what it was
asked: for what a client does with answers that are hard to get from nodes."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"


class AdminPort:
    """answers: {"METHOD /path": [answer, ...]}; an answer is (status, object),
    or "hang up".  The last one of a list stays.  As a context manager."""

    def __init__(self, answers):
        self.answers = {k: list(v) for k, v in answers.items()}
        self.asked = []  # ("METHOD /path", body as an object or None)
        self.lock = threading.Lock()
        port = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                port.handle(self)
            do_GET = do_POST = do_PUT = do_DELETE = handle_any

            def log_message(self, *_):
                pass
        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.server.daemon_threads = True
        self.address = f"{HOST}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})

    def handle(self, h):
        body = h.rfile.read(int(h.headers.get("Content-Length", 0)))
        what = f"{h.command} {h.path}"
        with self.lock:
            self.asked.append((what, json.loads(body) if body else None))
            left = self.answers.get(what, [(404, {"code": "no_such_path"})])
            answer = left[0] if len(left) == 1 else left.pop(0)
        if answer == "hang up":
            h.connection.close()
            return
        status, thing = answer
        text = json.dumps(thing).encode()
        h.send_response(status)
        h.send_header("Content-Length", str(len(text)))
        h.end_headers()
        h.wfile.write(text)

    def orders(self):
        """What was asked besides questions."""
        return [a for a in self.asked if not a[0].startswith("GET ")]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
