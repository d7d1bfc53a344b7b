/* Inside host/: what its other files need of greenlet.c and park.c. */
#ifndef GR_GREENLET_H
#define GR_GREENLET_H

#include "state.h"

enum { GR_MAX_SPARE = 64 }; /* coroutines kept for greenlets to come */

void gr_greenlet_init(gr_greenlet *g);

/* Give the greenlet in a slot what the running one has for its children; may
 * raise for want of memory.  And at its end: forget what was its own.  Both
 * only if S->scoped. */
void gr_inherit(lua_State *L, gr_state *S, uint32_t slot);
void gr_forget(gr_state *S, uint32_t slot);

/* Push the oldest interrupt that waits for `g`; false if there is none. */
bool gr_take_interrupt(lua_State *L, gr_state *S, gr_greenlet *g);

/* Run the pending <close> variables of a coroutine that stands still, after
 * those of the coroutines that it has resumed.  LUA_OK, or the status of an
 * error that is then on top of it. */
int gr_close_threads(lua_State *co);

/* gr_hub.resume */
void gr_greenlet_resume(gr_hub *hub, gr_waiter *w);

#endif
