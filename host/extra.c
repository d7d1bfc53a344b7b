/* A greenlet as a value of Lua, and what it has besides its record. */
#include "greenlet.h"

/* --- classes and values -------------------------------------------------- */

static char mark; /* the first element of every class's metatable */

gr_greenlet *gr_to_greenlet(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TUSERDATA || !lua_getmetatable(L, arg))
    return NULL;
  lua_rawgeti(L, -1, 1);
  bool is = lua_touserdata(L, -1) == &mark;
  lua_pop(L, 2);
  return is ? lua_touserdata(L, arg) : NULL;
}

void gr_mark_class(lua_State *L) {
  lua_pushlightuserdata(L, &mark);
  lua_rawseti(L, -2, 1);
}

gr_greenlet *gr_check_greenlet(lua_State *L, int arg) {
  gr_greenlet *g = gr_to_greenlet(L, arg);
  if (!g) luaL_typeerror(L, arg, "Greenlet");
  return g;
}

int gr_push_values(lua_State *L, int arg) {
  gr_greenlet *g = lua_touserdata(L, arg);
  if (!(g->w.flags & GR_MANY)) {
    lua_getiuservalue(L, arg, 1);
    return 1;
  }
  int n = lua_gettop(g->L);
  luaL_checkstack(L, n, "too many values of a greenlet");
  if (!lua_checkstack(g->L, 1)) return luaL_error(L, "not enough memory");
  for (int i = 1; i <= n; i++) {
    lua_pushvalue(g->L, i);
    lua_xmove(g->L, L, 1);
  }
  return n;
}

/* --- what few have ------------------------------------------------------ */

void gr_push_extra(lua_State *L, gr_state *S, int greenlet, bool make) {
  greenlet = lua_absindex(L, greenlet);
  gr_push_table(L, S, GR_T_EXTRA);
  lua_pushvalue(L, greenlet);
  if (lua_rawget(L, -2) == LUA_TNIL && make) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, greenlet);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_remove(L, -2);
}

/* Push a field of its table, nil if it has none. */
static void push_extra_field(lua_State *L, gr_state *S, int g,
                             const char *key) {
  gr_push_extra(L, S, g, false);
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, key);
    lua_remove(L, -2);
  }
}

void gr_push_name(lua_State *L, gr_state *S, int arg) {
  gr_greenlet *g = gr_check_greenlet(L, arg);
  arg = lua_absindex(L, arg);
  push_extra_field(L, S, arg, "fields");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "name");
    lua_remove(L, -2);
  }
  if (lua_isstring(L, -1)) return;
  lua_pop(L, 1);
  if (g == S->main) {
    lua_pushliteral(L, "main");
  } else {
    luaL_getmetafield(L, arg, "__name");
    lua_pushfstring(L, "%s-%d", lua_tostring(L, -1), (int)g->slot);
    lua_remove(L, -2);
  }
}

/* --- for as long as it lives -------------------------------------------- */

static uint32_t own_slot(const gr_state *S) {
  return ((const gr_greenlet *)(const void *)S->hub.current)->slot;
}

void gr_set_scoped(lua_State *L, gr_state *S, int t) {
  S->scoped = true;
  gr_push_table(L, S, t);
  lua_insert(L, -2);
  lua_rawseti(L, -2, own_slot(S));
  lua_pop(L, 1);
}

void gr_push_scoped(lua_State *L, gr_state *S, int t) {
  lua_rawgeti(S->L, t, own_slot(S));
  lua_xmove(S->L, L, 1);
}

/* What the hub starts has no parent. */
void gr_inherit(lua_State *L, gr_state *S, uint32_t slot) {
  if (!S->hub.current) return;
  gr_push_table(L, S, GR_T_CONTEXT);
  if (lua_rawgeti(L, -1, own_slot(S)) == LUA_TNIL)
    lua_pop(L, 1);
  else
    lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
}

void gr_forget(gr_state *S, uint32_t slot) {
  for (int t = GR_T_CONTEXT; t <= GR_T_LOCALS; t++) {
    if (lua_rawgeti(S->L, t, slot) != LUA_TNIL) {
      lua_pushnil(S->L);
      lua_rawseti(S->L, t, slot);
    }
    lua_pop(S->L, 1);
  }
}
