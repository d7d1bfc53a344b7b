#include "resolve.h"

static const char key; /* of the metatable */

/* --- the value ---------------------------------------------------------- */

static int close_it(lua_State *L) {
  gr_resolving *x = lua_touserdata(L, 1);
  gr_resolver *r = x->resolver;
  if (!r) return 0;
  x->resolver = NULL;
  gr_lookup_fini(&x->lookup);
  gr_ask_drop(&x->ask);
  gr_nameinfo_fini(&x->nameinfo);
  gr_resolver_release(r);
  return 0;
}

static void push_metatable(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, close_it);
  lua_setfield(L, -2, "__close");
  lua_pushcfunction(L, close_it);
  lua_setfield(L, -2, "__gc"); /* main's is not closed at the end */
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/* --- waiting ------------------------------------------------------------ */

static void wake(gr_resolving *x) {
  gr_waiter *w = x->waiter;
  x->ended = true;
  if (w && w->state == GR_PARKED && w->turn == x->turn)
    gr_wake(x->hub, w, GR_WOKEN);
}

static void lookup_done(gr_lookup *l) {
  wake(gr_container(l, gr_resolving, lookup));
}

static void ask_done(gr_ask *ask) {
  wake(gr_container(ask, gr_resolving, ask));
}

static void nameinfo_done(gr_nameinfo *n) {
  wake(gr_container(n, gr_resolving, nameinfo));
}

gr_resolving *gr_resolving_push(lua_State *L, gr_state *S, gr_resolver *r) {
  gr_resolving *x = lua_newuserdatauv(L, sizeof *x, 0);
  *x = (gr_resolving){.lookup = {.resolver = r, .done = lookup_done},
                      .ask = {.done = ask_done},
                      .nameinfo = {.done = nameinfo_done},
                      .hub = &S->hub};
  push_metatable(L);
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);
  x->resolver = r;
  r->refs++;
  return x;
}

void gr_resolving_await(gr_state *S, gr_resolving *x) {
  x->waiter = S->hub.current;
  x->turn = x->waiter->turn + 1; /* parking counts it */
}

gr_resolver *gr_check_resolver(lua_State *L, gr_state *S) {
  const char *wrong;
  gr_check_open(L, S);
  gr_resolver *r = gr_resolver_default(&S->hub, &wrong);
  if (!r && wrong)
    luaL_error(L, "bad GREENLUA_RESOLVER '%s' (ares or thread expected)",
               wrong);
  if (!r) luaL_error(L, "not enough memory");
  return r;
}
