/* What greenlua.h promises of the Lua half: it is no module, but its part of
 * the public library. */
#include <lualib.h>

#include "greenlua.h"
#include "greenlualib.h"
#include "limit/limit.h"

/* Loaded at once, so that every greenlet is an object with methods. */
int green_preload(lua_State *L) {
  greenlua_preload(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "greenlua");
  lua_call(L, 1, 0);
  return 0;
}

int green_openlibs(lua_State *L) {
  luaL_openlibs(L);
  return green_preload(L);
}

static void grant(lua_State *L, unsigned grants) {
  static const char *const names[] = {"files", "sockets", "processes",
                                      "signals"};
  lua_newtable(L);
  for (int i = 0; i < 4; i++) {
    lua_pushboolean(L, grants >> i & 1);
    lua_setfield(L, -2, names[i]);
  }
}

int green_opensandbox(lua_State *L) {
  gr_state *S = gr_state_open(L);
  luaL_openlibs(L);
  gr_track_coroutines(L, S);
  S->no_finalizers = true;
  green_preload(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "greenlua.sandbox");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "_seal");
  grant(L, green_grants(L));
  lua_call(L, 1, 1);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  return 0;
}
