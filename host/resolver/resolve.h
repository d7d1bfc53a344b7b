/* How a greenlet waits for a lookup, a query or the name of an address.
 *
 *     gr_resolving *x = gr_resolving_push(L, S, resolver);
 *     if (gr_lookup_start(&x->lookup, ...)) ...ended...
 *     gr_can_block(L, S, at);
 *     gr_resolving_await(S, x);
 *     gr_arm(&S->hub, at, false);
 *     return gr_park(L, S, &some_wait, true, ctx, k);
 *
 * What is pushed is a to-be-closed value: however the call ends, the lookup
 * ends with it.  In `k`, GR_WOKEN says that the answer is there
 * (if nothing else could wake it: `ended`). */
#ifndef GR_RESOLVER_RESOLVE_H
#define GR_RESOLVER_RESOLVE_H

#include "lookup.h"
#include "nameinfo.h"
#include "state.h"

typedef struct gr_resolving {
  gr_lookup lookup;
  gr_ask ask;
  gr_nameinfo nameinfo;
  gr_resolver *resolver; /* NULL: closed */
  gr_hub *hub;
  gr_waiter *waiter;
  bool ended;    /* the answer is there */
  uint32_t turn; /* of its waits: the one for us */
} gr_resolving;

/* Push one.  Raises for want of memory. */
gr_resolving *gr_resolving_push(lua_State *L, gr_state *S, gr_resolver *);

/* Have the running greenlet, which parks next, woken by the answer. */
void gr_resolving_await(gr_state *S, gr_resolving *);

/* The system's resolver.  Raises if its settings are wrong, if the hub is
 * closed, and for want of memory. */
gr_resolver *gr_check_resolver(lua_State *L, gr_state *S);

#endif
