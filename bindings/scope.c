/* greenlua.core.scope: what belongs to one greenlet for as long as it lives,
 * and what the end of a scope must know. */
#include "greenlualib.h"
#include "state.h"

static gr_state *check_running(lua_State *L) {
  gr_state *S = gr_state_of(L);
  if (!S->hub.current)
    luaL_error(L, "no greenlet runs here: the hub itself does");
  return S;
}

/* context() -> what those that it starts will have, too; nil if nothing */
static int context(lua_State *L) {
  gr_state *S = gr_state_of(L);
  if (!S->hub.current) return 0;
  gr_push_scoped(L, S, GR_T_CONTEXT);
  return 1;
}

/* set_context(table or nil) */
static int set_context(lua_State *L) {
  gr_state *S = check_running(L);
  lua_settop(L, 1);
  gr_set_scoped(L, S, GR_T_CONTEXT);
  return 0;
}

/* locals() -> a table that is the running greenlet's alone, its keys weak */
static int locals(lua_State *L) {
  gr_state *S = check_running(L);
  gr_push_scoped(L, S, GR_T_LOCALS);
  if (!lua_isnil(L, -1)) return 1;
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  gr_set_scoped(L, S, GR_T_LOCALS);
  return 1;
}

/* closing() -> is the running greenlet being closed from outside, or does it
 * unwind after an error? */
static int closing(lua_State *L) {
  gr_waiter *w = gr_state_of(L)->hub.current;
  lua_pushboolean(L, w && w->flags & GR_CLOSING);
  return 1;
}

/* take_back(g, err) -> has an interrupt that waited for `g` to park been taken
 * back? */
static int take_back(lua_State *L) {
  gr_check_greenlet(L, 1);
  lua_settop(L, 2);
  lua_pushboolean(L, gr_take_back(L, gr_state_of(L), 1));
  return 1;
}

/* threads(g) -> the coroutines that stand in it, outermost first; nil if it
 * does not run */
static int threads(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  if (!(g->w.flags & GR_STARTED) || g->w.state == GR_DEAD || !g->L) return 0;
  lua_newtable(L);
  lua_State *co = g->L;
  for (lua_Integer i = 1; co && lua_checkstack(co, 1); i++) {
    lua_pushthread(co);
    if (co != L) lua_xmove(co, L, 1);
    lua_rawseti(L, -2, i);
    co = gr_resumee(co);
  }
  return 1;
}

int luaopen_greenlua_core_scope(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"context", context}, {"set_context", set_context}, {"locals", locals},
      {"closing", closing}, {"take_back", take_back},     {"threads", threads},
      {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
