/* How `require` finds our modules: those in C, and the linked-in sources. */
#include <string.h>

#include "embedded.h"
#include "greenlualib.h"

static const luaL_Reg in_c[] = {
    {"greenlua.core", luaopen_greenlua_core},
    {"greenlua.core.dns", luaopen_greenlua_core_dns},
    {"greenlua.core.http", luaopen_greenlua_core_http},
    {"greenlua.core.json", luaopen_greenlua_core_json},
    {"greenlua.core.luaio", luaopen_greenlua_core_luaio},
    {"greenlua.core.preempt", luaopen_greenlua_core_preempt},
    {"greenlua.core.queue", luaopen_greenlua_core_queue},
    {"greenlua.core.scope", luaopen_greenlua_core_scope},
    {"greenlua.core.select", luaopen_greenlua_core_select},
    {"greenlua.core.server", luaopen_greenlua_core_server},
    {"greenlua.core.signal", luaopen_greenlua_core_signal},
    {"greenlua.core.socket", luaopen_greenlua_core_socket},
    {"greenlua.core.ssl", luaopen_greenlua_core_ssl},
    {"greenlua.core.timeout", luaopen_greenlua_core_timeout},
    {"greenlua.core.wait", luaopen_greenlua_core_wait},
    {"greenlua.core.waitlist", luaopen_greenlua_core_waitlist},
    {"greenlua.core.websocket", luaopen_greenlua_core_websocket},
    {NULL, NULL}};

static const char globals_key; /* in the registry: what our modules see */

/* Push the loader of an embedded module.  Its globals are those of the time
 * when greenlua was first asked for: a sandbox has others since. */
static void load_source(lua_State *L, const struct gr_embedded *e) {
  const char *chunk = lua_pushfstring(L, "@%s", e->path);
  if (luaL_loadbufferx(L, e->source, e->size, chunk, "t")) lua_error(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key);
  lua_setupvalue(L, -2, 1);
  lua_remove(L, -2);
}

/* A searcher: (name) -> loader and where it is from, or why not. */
static int search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strncmp(name, "greenlua", 8)) return 0;
  for (const luaL_Reg *r = in_c; r->name; r++)
    if (!strcmp(r->name, name)) {
      lua_pushcfunction(L, r->func);
      lua_pushliteral(L, ":greenlua:");
      return 2;
    }
  for (const struct gr_embedded *e = gr_embedded; e->name; e++)
    if (!strcmp(e->name, name)) {
      load_source(L, e);
      lua_pushfstring(L, ":greenlua:%s", e->path);
      return 2;
    }
  lua_pushfstring(L, "no module '%s' in greenlua", name);
  return 1;
}

/* After package.preload, before any file: our parts must fit together. */
void greenlua_preload(lua_State *L) {
  static const char key = 0;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
    lua_pushglobaltable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
      lua_rawgeti(L, -1, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search);
    lua_rawseti(L, -2, 2);
    lua_pushboolean(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

int luaopen_greenlua(lua_State *L) {
  greenlua_preload(L);
  for (const struct gr_embedded *e = gr_embedded; e->name; e++)
    if (!strcmp(e->name, "greenlua")) {
      load_source(L, e);
      lua_pushliteral(L, "greenlua");
      lua_call(L, 1, 1);
      return 1;
    }
  return luaL_error(L, "greenlua was built without its Lua half");
}
