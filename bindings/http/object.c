#include "http.h"

enum { MEMBERS = 2, LAZY = 3 }; /* upvalues of __index and __newindex */

static void push_properties(lua_State *L, const char *const *names) {
  for (int i = 0; names[i]; i++) {
    lua_pushinteger(L, i + 1);
    lua_setfield(L, -2, names[i]);
  }
}

static void push_handler(lua_State *L, gr_state *S, int members, int lazy,
                         lua_CFunction f) {
  lua_pushlightuserdata(L, S);
  lua_pushvalue(L, members);
  lua_pushvalue(L, lazy);
  lua_pushcclosure(L, f, 3);
}

void grh_open_class(lua_State *L, gr_state *S, const void *key,
                    const char *name, const luaL_Reg *const *methods,
                    const char *const *properties, lua_CFunction index,
                    lua_CFunction newindex) {
  int module = lua_gettop(L), members = module + 1, lazy = module + 2;
  lua_newtable(L);
  for (; *methods; methods++) gr_setfuncs(L, S, *methods);
  push_properties(L, properties);
  lua_newtable(L);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  push_handler(L, S, members, lazy, index);
  lua_setfield(L, -2, "__index");
  push_handler(L, S, members, lazy, newindex);
  lua_setfield(L, -2, "__newindex");
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
  lua_pushfstring(L, "%s_lazy", name);
  lua_insert(L, -2);
  lua_rawset(L, module);
  lua_settop(L, members);
  lua_setfield(L, module, name);
}

/* Call the function on top for the object, and keep what it returns. */
static void make_lazily(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) return;
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    lua_replace(L, -2);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

int grh_index(lua_State *L) {
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(MEMBERS));
  if (type == LUA_TFUNCTION) return 0;
  if (type == LUA_TNUMBER) return (int)lua_tointeger(L, -1);
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 0;
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(LAZY)) != LUA_TNIL) make_lazily(L);
  return 0;
}

int grh_newindex(lua_State *L) {
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(MEMBERS));
  if (type == LUA_TNUMBER) return (int)lua_tointeger(L, -1);
  if (type != LUA_TNIL)
    luaL_error(L, "'%s' is a method and cannot be set", lua_tostring(L, 2));
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}
