#include <math.h>

#include "greenlet.h"

/* How a greenlet of Lua parks and goes on: state.h says how to use it. */

enum { FAST_STACKS = 64 }; /* on which to wait for a turn */

static int raise_deadlock(lua_State *L, gr_state *S) {
  gr_push_policy(L, S, GR_P_LOOP_EXIT);
  if (lua_isnil(L, -1))
    return luaL_error(L, "this operation would block forever");
  lua_call(L, 0, 1);
  return lua_error(L);
}

lua_State *gr_resumee(lua_State *L) {
  lua_Debug ar;
  lua_State *co = NULL;
  if (!lua_getstack(L, 0, &ar) || !lua_checkstack(L, 3)) return NULL;
  lua_getinfo(L, "Sf", &ar);
  if (*ar.what != 'C') {
    lua_pop(L, 1);
    return NULL;
  }
  /* coroutine.wrap keeps its coroutine as an upvalue, coroutine.resume has it
   * as its first argument. */
  if (lua_getupvalue(L, -1, 1)) {
    co = lua_tothread(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (!co && lua_getlocal(L, &ar, 1)) {
    co = lua_tothread(L, -1);
    lua_pop(L, 1);
  }
  if (co == L || (co && lua_status(co) != LUA_OK)) return NULL;
  return co;
}

/* Somebody resumed a parked greenlet's coroutine.  Nothing has happened to
 * its wait, so it goes on waiting, and the culprit gets the error. */
static int refuse(lua_State *L, gr_state *S, lua_KContext ctx,
                  lua_KFunction k) {
  static const char message[] =
      "cannot resume a greenlet: it waits, and only the hub wakes it";
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  lua_State *by = g ? g->L : NULL;
  for (lua_State *next; by && (next = gr_resumee(by)) != L; by = next)
    ;
  if (by) {
    gr_raise_later(S, by, message);
    return lua_yieldk(L, 0, ctx, k);
  }
  lua_pushstring(L, message);
  return lua_yieldk(L, 1, ctx, k);
}

/* --- parking ------------------------------------------------------------ */

gr_greenlet *gr_can_block(lua_State *L, gr_state *S, double at) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  if (!g) {
    gr_check_open(L, S);
    luaL_error(L, "cannot block here: the hub itself is running this "
                  "function (a rawlink must not block; link may)");
  }
  if (g->w.flags & GR_PENDING) gr_raise_pending(L, S, g);
  if (at < INFINITY && gr_timers_reserve(&S->hub.timers))
    luaL_error(L, "not enough memory");
  if (L == g->L && lua_isyieldable(L)) return g;
  if (lua_gc(L, LUA_GCCOUNT) < 0)
    luaL_error(L, "cannot block in a finalizer (__gc): the collector stands "
                  "still until it returns");
  if (S->closing) luaL_error(L, "cannot block here: the hub is being closed");
  if (g == S->main && !gr_main_may_park(S))
    luaL_error(L, "cannot block in main: the host runs the loop (spawn a "
                  "greenlet)");
  if (gr_hub_reserve(&S->hub))
    luaL_error(L, "cannot block here: no C stack is left (%d in use, limit %d)",
               (int)S->hub.nstacks, (int)S->hub.max_stacks);
  return g;
}

/* Way 2, then the continuation. */
static inline int set_aside(lua_State *L, gr_state *S, lua_KContext ctx,
                            lua_KFunction k) {
  S->hub.stack->data = L;
  gr_hub_block(&S->hub);
  S->resumed = L;
  return k(L, LUA_YIELD, ctx);
}

/* Way 1 or way 2, for a waiter that is parked, or woken already. */
static int leave(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  if (L == g->L && lua_isyieldable(L)) return lua_yieldk(L, 0, ctx, k);
  return set_aside(L, S, ctx, k);
}

int gr_park(lua_State *L, gr_state *S, const gr_wait *what, bool external,
            lua_KContext ctx, lua_KFunction k) {
  S->hub.current->values = 0;
  gr_park_waiter(&S->hub, what, external);
  return leave(L, S, ctx, k);
}

static inline void line_up(gr_hub *hub, const gr_wait *what) {
  gr_waiter *w = hub->current;
  w->values = 0;
  w->what = what;
  w->status = GR_WOKEN;
  w->state = GR_READY;
  gr_list_append(&hub->ready, &w->node);
}

/* The wait is short, so a C stack costs nothing while there are few of them:
 * two switches of stacks are faster than a yield, which is a longjmp, and a
 * lua_resume, which is a setjmp. */
int gr_give_way(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k) {
  gr_hub *hub = &S->hub;
  line_up(hub, NULL);
  if (!hub->nidle && (hub->nstacks >= FAST_STACKS || gr_hub_reserve(hub)))
    return leave(L, S, ctx, k);
  return set_aside(L, S, ctx, k);
}

void gr_line_up(gr_hub *hub, const gr_wait *what) {
  line_up(hub, what);
}

void gr_yield_in_place(lua_State *L, gr_state *S, const gr_wait *what) {
  line_up(&S->hub, what);
  S->hub.stack->data = L;
  gr_hub_block(&S->hub);
  S->resumed = NULL; /* whose it was has parked since, perhaps */
}

int gr_block_in_place(gr_state *S, const gr_wait *what, bool external,
                      gr_guard *guard) {
  gr_waiter *w = S->hub.current;
  S->hub.stack->data = gr_running_thread(S);
  w->values = 0;
  gr_park_waiter(&S->hub, what, external);
  gr_hub_block_guarded(&S->hub, guard);
  S->resumed = NULL; /* as above */
  return w->status;
}

int gr_woken(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k) {
  if (S->resumed != L) return refuse(L, S, ctx, k);
  S->resumed = NULL;
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  int status = g->w.status;
  if (status == GR_RAISE && !g->w.what->foreign) {
    if (g->w.values || gr_take_interrupt(L, S, g)) gr_raise(L, S, g);
  } else if (status == GR_DEADLOCK && !g->w.what->calm) {
    raise_deadlock(L, S);
  }
  return status;
}
