#include "connection.h"

const char gr_connection_magic;

gr_stream *gr_to_stream(lua_State *L, int arg) {
  gr_connection *c = lua_touserdata(L, arg);
  if (!c || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) < sizeof *c || c->magic != &gr_connection_magic)
    return NULL;
  return &c->stream;
}

static const char *name_of(lua_State *L, gr_state *S, gr_waiter *w) {
  gr_push_greenlet(L, S, (gr_greenlet *)(void *)w);
  gr_push_name(L, S, -1);
  return lua_tostring(L, -1);
}

void gr_check_free(lua_State *L, gr_state *S, gr_io *side, const gr_wait *what,
                   const char *whose) {
  gr_waiter *other = gr_io_waiter(side);
  if (!other || !S->hub.current) return;
  const char *mine = name_of(L, S, S->hub.current);
  const char *its = name_of(L, S, other);
  luaL_error(L, "%s cannot %s on %s: %s waits in %s there", mine, what->name,
             whose, its, other->what->name);
}

int gr_park_io(lua_State *L, gr_state *S, gr_io *side, double at,
               const gr_wait *what, lua_KContext ctx, lua_KFunction k) {
  gr_can_block(L, S, at);
  gr_io_await(side);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, what, true, ctx, k);
}

/* Without raising: it would be a pity, not a failure. */
static bool can_give_way(lua_State *L, gr_state *S) {
  gr_greenlet *g = (gr_greenlet *)(void *)S->hub.current;
  if (!g) return false;
  if (L == g->L && lua_isyieldable(L)) return true;
  return lua_gc(L, LUA_GCCOUNT) >= 0 && !gr_hub_reserve(&S->hub);
}

bool gr_gives_way(lua_State *L, gr_state *S, unsigned cost) {
  return gr_streams_tired(&S->hub, cost) && can_give_way(L, S);
}

int gr_let_others(lua_State *L, gr_state *S, lua_KContext ctx,
                  lua_KFunction k) {
  S->hub.budget = 0; /* so that the loop is polled first */
  return gr_give_way(L, S, ctx, k);
}
