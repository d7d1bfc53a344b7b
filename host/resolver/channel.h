/* A channel of c-ares on the hub's loop: for resolver.c.
 *
 * c-ares opens and closes its sockets as it likes and says which to watch, and
 * when it wants to be called.  It cannot cancel one query, only all of them. */
#ifndef GR_RESOLVER_CHANNEL_H
#define GR_RESOLVER_CHANNEL_H

#include <ares.h>

#include "resolver.h"

typedef struct gr_channel {
  gr_node node; /* among its resolver's */
  gr_resolver *resolver;
  ares_channel ares;
  gr_list sockets; /* that are watched */
  gr_alarm alarm;  /* for its timeouts */
  unsigned out;    /* queries that have not ended */
  unsigned wanted; /* of them, those that somebody waits for */
} gr_channel;

/* A channel for the resolver's configuration; NULL: out of memory. */
gr_channel *gr_channel_open(gr_resolver *);

/* Ends its queries.  Not from inside a call into c-ares. */
void gr_channel_close(gr_channel *);

/* Send a query, whose end gr_query_end tells, perhaps before this returns. */
void gr_channel_send(gr_channel *, gr_query *);

/* End all its queries, which closes its sockets. */
void gr_channel_cancel(gr_channel *);

/* --- what resolver.c gives ---------------------------------------------- */

/* A query has ended: a status of c-ares, and the message if there is one. */
void gr_query_end(gr_query *, int status, const uint8_t *data, size_t len);

/* A message has come in, which c-ares will judge; if it says that the server
 * failed, c-ares asks the next one and does not tell why. */
void gr_query_look(gr_resolver *, const uint8_t *data, size_t len);

/* Around calls into c-ares: what must not be done inside is done afterwards. */
void gr_resolver_enter(gr_resolver *);
void gr_resolver_leave(gr_resolver *);

#endif
