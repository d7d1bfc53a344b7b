/* Watching descriptors of others.
 *
 * Whoever waits for a descriptor that is not his must expect that it is closed
 * meanwhile, by our own sockets or by code that knows nothing of us, and that
 * its number is given to another one.  The loop takes it amiss: it aborts the
 * program. So a watch is for one wait, is stopped on every way out of it, and
 * is looked at once more before the loop gets to see it; and whoever closes a
 * descriptor of ours says so first (gr_watch_closing).
 */
#ifndef GR_WATCH_H
#define GR_WATCH_H

#include "hub.h"

typedef struct gr_watch {
  ev_io watcher;    /* data: the hub */
  gr_node node;     /* among the hub's, while it is active */
  gr_list *waiters; /* the first of them is woken */
} gr_watch;

void gr_watch_init(gr_watch *);

/* Watch until it is stopped; it must not be active.  The waiters are woken with
 * GR_WOKEN by an event, with GR_CLOSED when the descriptor is closed. */
void gr_watch_start(gr_watch *, gr_hub *, int fd, int events, gr_list *waiters);

/* Stop watching; nothing happens if it is not active. */
void gr_watch_stop(gr_watch *);

/* Stop all watches of a descriptor that is about to be closed. */
void gr_watch_closing(gr_hub *, int fd);

/* For the hub, before the loop is polled: see to the new ones. */
void gr_watch_verify(gr_hub *);

#endif
