import os
os.environ["GEVENT_RESOLVER"] = "ares"
os.environ["GEVENTARES_SERVERS"] = "127.0.0.1"
os.environ["GEVENTARES_UDP_PORT"] = os.environ["GEVENTARES_TCP_PORT"] = os.environ["PORT"]
import time, gevent, gevent.pool, gevent.socket as socket

n = int(os.environ["N"])

def look_up(i):
    found = socket.getaddrinfo(f"h{i}.bench.test", 80, socket.AF_INET, socket.SOCK_STREAM)
    assert found[0][4][0] == "10.1.2.3"

pool = gevent.pool.Pool(128)  # all at once lose datagrams
t = time.monotonic()
for _ in pool.imap_unordered(look_up, range(n)):
    pass
print(f"resolve_rps {n / (time.monotonic() - t):.0f} names/s")
