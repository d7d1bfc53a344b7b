/* Inside host/: what its other files need of greenlet.c, park.c and raise.c. */
#ifndef GR_GREENLET_H
#define GR_GREENLET_H

#include "state.h"

enum { GR_MAX_SPARE = 64 }; /* coroutines kept for greenlets to come */

void gr_greenlet_init(gr_greenlet *g);

/* Coroutines for greenlets to begin on (spare.c).  One of them is warm: the
 * next greenlet begins on it, and if that ends without a park, which most do,
 * so does the one after it.  Only who parks has it as its user value. */

/* A coroutine that nobody stands on, which is the warm one; the caller sets
 * S->warm_of.  NULL: no memory; the error is on S->talk. */
lua_State *gr_find_coroutine(gr_state *S);

/* Keep that of `g`, which has returned, for the next to begin. */
void gr_keep_coroutine(gr_state *S, const gr_greenlet *g, lua_State *co);

/* The warm one belongs to who stands on it, or to nobody if that one does not
 * need it any more. */
void gr_settle_coroutine(gr_state *S, bool needed);

/* Give the greenlet in a slot what the running one has for its children; may
 * raise for want of memory.  And at its end: forget what was its own.  Both
 * only if S->scoped. */
void gr_inherit(lua_State *L, gr_state *S, uint32_t slot);
void gr_forget(gr_state *S, uint32_t slot);

/* The running greenlet is ready again, behind all others; `what` may be NULL.
 */
void gr_line_up(gr_hub *hub, const gr_wait *what);

/* Keep the error on top of `L`, which is popped, for the greenlet at `arg`; may
 * raise for want of memory. */
void gr_keep_interrupt(lua_State *L, gr_state *S, int arg);

/* Push the oldest interrupt that waits for `g`; false if there is none. */
bool gr_take_interrupt(lua_State *L, gr_state *S, gr_greenlet *g);

/* Run the pending <close> variables of a coroutine that stands still, after
 * those of the coroutines that it has resumed.  LUA_OK, or the status of an
 * error that is then on top of it. */
int gr_close_threads(gr_state *S, lua_State *co);

/* Something went wrong with what is called at the end of `g` (or NULL). */
void gr_complain(gr_state *S, const gr_greenlet *g, const char *why);

/* (greenlet): tell of its error, as the Lua half would. */
int gr_report_plainly(lua_State *L);

/* Call the function and its `n` arguments on top of S->talk as the hub.  It may
 * not block, so one thread serves all, by turns or nested. `g`: of whose end it
 * tells, for the report of an error. */
void gr_talk(gr_state *S, gr_greenlet *g, int n);

/* Of one that is held by the host (embed/greenlet.c): is somebody there for its
 * error?  And: it has ended. */
bool gr_held_observes(gr_state *S, gr_greenlet *g);
void gr_held_end(gr_state *S, gr_greenlet *g);

/* The hub of the host is about to close (called twice: before and after the
 * greenlets are closed).  host/embed/green.c */
void gr_shell_closing(lua_State *L, gr_state *S);
void gr_shell_closed(lua_State *L, gr_state *S);

/* gr_hub.resume */
void gr_greenlet_resume(gr_hub *hub, gr_waiter *w);

#endif
