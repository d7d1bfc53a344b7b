/* One direction of one descriptor, watched by the loop.
 *
 * At most one waiter is parked on it.  An event wakes that one and leaves the
 * watcher armed: whoever reads or writes in a loop pays no epoll_ctl(2) for
 * each wait.  The watcher is stopped when it fires with nobody waiting.
 *
 * An armed watcher holds no reference to its loop; hub->external counts the
 * waits, and that is what keeps a program going.
 *
 * `dry`: the kernel has said that there is nothing to be had here, and no
 * event has said otherwise since.  It is advice: who heeds it waits first and
 * saves a system call.
 */
#ifndef GR_IO_H
#define GR_IO_H

#include "hub.h"

typedef struct gr_io {
  gr_list waiters;
  bool dry;
  ev_io watcher; /* data: the hub */
} gr_io;

typedef void gr_io_callback(struct ev_loop *, ev_io *, int);

/* Watch nothing yet.  fd: -1 for none; events: EV_READ or EV_WRITE; call: NULL
 * for gr_io_event. */
void gr_io_init(gr_io *, gr_hub *, int fd, int events, gr_io_callback *call);

/* What a watcher's event does; for callbacks that do something before. */
void gr_io_event(struct ev_loop *, ev_io *, int events);

/* Watch. */
void gr_io_arm(gr_io *);

/* Stop watching, leave those who wait alone. */
void gr_io_disarm(gr_io *);

/* Arm it for the running waiter, who parks next with external = true. */
void gr_io_await(gr_io *);

/* Stop watching and wake who waits with GR_CLOSED.  Before the descriptor is
 * closed or given away, since the loop knows descriptors by their number. */
void gr_io_close(gr_io *);

static inline gr_hub *gr_io_hub(const gr_io *io) {
  return (gr_hub *)io->watcher.data;
}

static inline int gr_io_fd(const gr_io *io) {
  return io->watcher.fd;
}

/* The one that waits, or NULL. */
static inline gr_waiter *gr_io_waiter(const gr_io *io) {
  if (gr_list_empty(&io->waiters)) return NULL;
  return gr_container(gr_list_first(&io->waiters), gr_waiter, node);
}

#endif
