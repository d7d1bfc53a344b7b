import json, os
from gevent.pywsgi import WSGIServer

items = [dict(id=i, name=f"Item number {i}", price=i * 1.25, stock=i * 7 % 100, available=i % 2 == 0,
              tags=["red", "green", "blue"],
              description="A thing that one might want to have, if one had the room for it")
         for i in range(1, 57)]

def app(environ, start_response):
    body = json.dumps(items, separators=(",", ":")).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]

WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None, backlog=4096).serve_forever()
