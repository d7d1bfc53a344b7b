#include <math.h>

#include "greenlet.h"

/* What is raised in a greenlet: kept while it runs or is ready, taken where it
 * parks. state.h says how to use it. */

/* --- closed while C waits ----------------------------------------------- */

static const gr_wait doom_wait = {.name = "close"};

typedef struct doom {
  gr_alarm alarm;
  gr_greenlet *g;
} doom;

/* Nobody stands on its stack: that can go, this alarm with it. */
static void execute(gr_hub *hub, gr_alarm *a) {
  gr_greenlet *g = gr_container(a, doom, alarm)->g;
  g->w.flags |= GR_CLOSING;
  gr_wake(hub, &g->w, GR_RAISE);
  gr_hub_abandon(hub, &g->w);
}

/* The running greenlet was closed while C waited in it, and C has let go: close
 * it now.  Returns only if that is not possible yet. */
static void meet_doom(lua_State *L, gr_state *S, gr_greenlet *g) {
  gr_hub *hub = &S->hub;
  doom d = {.g = g};
  /* A finalizer that blocks is not to be cut short; but it may be one that the
   * whole hub is closed in. */
  if (!S->releasing && lua_gc(L, LUA_GCCOUNT) < 0) return;
  if (gr_hub_reserve(hub)) return;
  gr_alarm_init(&d.alarm, execute);
  if (gr_alarm_set(hub, &d.alarm, -INFINITY, false)) return;
  g->doomed = false;
  gr_park_waiter(hub, &doom_wait, false);
  gr_hub_block(hub);
}

/* --- kept and taken ------------------------------------------------------ */

void gr_keep_interrupt(lua_State *L, gr_state *S, int arg) {
  gr_greenlet *g = lua_touserdata(L, arg);
  gr_push_table(L, S, GR_T_PENDING);
  lua_pushvalue(L, arg);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, arg);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_pushvalue(L, -3);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 3);
  g->w.flags |= GR_PENDING;
}

/* The error of the first Timeout of its that has expired: they expired in this
 * order and are raised in it. */
static bool take_timeout(lua_State *L, gr_state *S, const gr_greenlet *g) {
  for (gr_node *n = S->expired.next; n != &S->expired; n = n->next) {
    gr_timeout *t = gr_container(n, gr_timeout, node);
    if (t->target != g) continue;
    gr_push_table(L, S, GR_T_ANCHOR);
    lua_rawgetp(L, -1, t);
    gr_timeout_cancel(L, S, t);
    if (lua_getiuservalue(L, -1, 1) == LUA_TNIL)
      lua_pop(L, 1); /* it is its own error */
    else
      lua_remove(L, -2);
    lua_remove(L, -2);
    return true;
  }
  return false;
}

/* The oldest of the kept ones. */
static bool take_kept(lua_State *L, gr_state *S, gr_greenlet *g) {
  g->w.flags &= (uint8_t)~GR_PENDING;
  gr_push_table(L, S, GR_T_PENDING);
  gr_push_greenlet(L, S, g);
  if (lua_rawget(L, -2) != LUA_TTABLE) {
    lua_pop(L, 2);
    return false;
  }
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_rawgeti(L, -1, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i + 1);
    lua_rawseti(L, -3, i);
  }
  if (n > 1) {
    g->w.flags |= GR_PENDING;
  } else {
    gr_push_greenlet(L, S, g);
    lua_pushnil(L);
    lua_rawset(L, -5);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  return true;
}

bool gr_take_interrupt(lua_State *L, gr_state *S, gr_greenlet *g) {
  if (g->doomed) meet_doom(L, S, g);
  if (S->interrupted && g == S->main) {
    S->interrupted = false;
    luaL_where(L, 1);
    lua_pushliteral(L, "interrupted!");
    lua_concat(L, 2);
    return true;
  }
  return take_timeout(L, S, g) || take_kept(L, S, g);
}

bool gr_take_back(lua_State *L, gr_state *S, int arg) {
  int err = lua_gettop(L), shift = 0;
  arg = lua_absindex(L, arg);
  gr_push_table(L, S, GR_T_PENDING);
  lua_pushvalue(L, arg);
  if (lua_rawget(L, -2) == LUA_TTABLE) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i + shift);
      if (!shift && lua_rawequal(L, -1, err)) {
        lua_pop(L, 1);
        lua_rawgeti(L, -1, i + ++shift);
      }
      lua_rawseti(L, -2, i);
    }
    if (shift && n == 1) {
      lua_pushvalue(L, arg);
      lua_pushnil(L);
      lua_rawset(L, -4);
    }
  }
  lua_settop(L, err - 1);
  return shift;
}

/* --- raised -------------------------------------------------------------- */

void gr_interrupt_main(gr_state *S) {
  gr_waiter *w = &S->main->w;
  S->interrupted = true;
  w->flags |= GR_PENDING;
  if (w->state == GR_PARKED) gr_wake(&S->hub, w, GR_RAISE);
}

/* green.pcall will know it again. */
int gr_raise(lua_State *L, gr_state *S, gr_greenlet *g) {
  if (!g) return lua_error(L);
  gr_push_table(L, S, GR_T_RAISED);
  gr_push_greenlet(L, S, g);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return lua_error(L);
}

void gr_push_interrupt(lua_State *L, gr_state *S, gr_greenlet *g) {
  if (!gr_take_interrupt(L, S, g)) lua_pushnil(L);
}

void gr_raise_pending(lua_State *L, gr_state *S, gr_greenlet *g) {
  if (g->w.flags & GR_PENDING && gr_take_interrupt(L, S, g)) gr_raise(L, S, g);
}
