/* What greenlua.h promises of the Lua half: it is no module, but its part of
 * the public library. */
#include <lualib.h>

#include "greenlua.h"
#include "greenlualib.h"

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
