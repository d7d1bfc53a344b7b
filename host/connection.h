/* What bindings may know of another binding's connected socket: that it has a
 * stream.
 *
 * The object of such a socket is a full userdata that begins with this record,
 * so a protocol can be spoken over whatever made the connection.  It waits with
 * deadlines of its own; that only one greenlet reads and one writes is for all
 * alike.
 */
#ifndef GR_CONNECTION_H
#define GR_CONNECTION_H

#include "state.h"
#include "stream.h"

typedef struct gr_connection {
  const void *magic; /* &gr_connection_magic */
  gr_stream stream;
} gr_connection;

extern const char gr_connection_magic;

/* The stream of argument `arg`; NULL if it is no socket. */
gr_stream *gr_to_stream(lua_State *L, int arg);

/* A second greenlet on one side is misuse: raises, naming both, and the
 * object as `whose`. */
void gr_check_free(lua_State *L, gr_state *S, gr_io *side, const gr_wait *what,
                   const char *whose);

/* Park until that side of a stream is ready, or `at` has come; as gr_park. */
int gr_park_io(lua_State *L, gr_state *S, gr_io *side, double at,
               const gr_wait *what, lua_KContext ctx, lua_KFunction k);

/* Has this greenlet made so many calls without waiting that it gives way now,
 * and can it?  `cost`: of this call, against 64. */
bool gr_gives_way(lua_State *L, gr_state *S, unsigned cost);

/* As gr_give_way, and the loop is polled, too. */
int gr_let_others(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k);

#endif
