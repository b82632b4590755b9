"""A WSGI application that routes on PATH_INFO, as PEP 3333 gives it, and runs on wsgiref or gunicorn."""
import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

with open(os.environ["AREAS"]) as lines:
    AREAS = [line.split() for line in lines]


def application(environ, start_response):
    path = environ.get("PATH_INFO", "") or "/"
    status, body = "404 Not Found", "nothing here"
    if path == "/whoami":
        status, body = "200 OK", "id=[%s]" % environ.get("HTTP_X_USER_ID", "")
    else:
        # PATH_INFO holds bytes as Latin-1.
        path = "/" + path.encode("latin-1").decode("utf-8", "replace").strip("/")
        for prefix, says in AREAS:
            if path == prefix or path.startswith(prefix + "/"):
                status, body = "200 OK", says
                break
    body = (body + "\n").encode("latin-1", "replace")
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class Server(WSGIServer):
    request_queue_size = 128


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), application, Server, Quiet).serve_forever()
