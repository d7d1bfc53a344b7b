/* C and libev only: find the end of the request head, write a fixed response
 * with a body as long as the others'.  Nothing is encoded. */
#include "../tools/floor.h"
#include <stdio.h>

enum { BODY = 10359 };

static char reply[BODY + 256];
static size_t size;

static void ready(struct ev_loop *loop, ev_io *w) {
    ssize_t n = read(w->fd, buf, sizeof buf);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) drop(loop, w);
        return;
    }
    if (memmem(buf, n, "\r\n\r\n", 4) && write(w->fd, reply, size) < 0) drop(loop, w);
}
int main(void) {
    int head = sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(reply + head, 'x', BODY);
    size = head + BODY;
    return serve();
}
