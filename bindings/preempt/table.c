/* table.concat, insert, move, remove and sort. */
#include <lualib.h>
#include <string.h>

#include "preempt.h"

/* Lua's own sort is not worth stopping below that. */
enum { QUICKLY_SORTED = 1000 };

/* Argument `arg` is a table, or has those of __index, __newindex and __len that
 * the letters i, n and l stand for. */
static void check(lua_State *L, int arg, const char *fields) {
  if (lua_istable(L, arg)) return;
  for (; *fields; fields++) {
    const char *name = *fields == 'i'   ? "__index"
                       : *fields == 'n' ? "__newindex"
                                        : "__len";
    if (!luaL_getmetafield(L, arg, name)) luaL_checktype(L, arg, LUA_TTABLE);
    lua_pop(L, 1);
  }
}

/* What it costs to get or set a field: metamethods may take long, too. */
static size_t cost(lua_State *L, int arg) {
  if (!lua_getmetatable(L, arg)) return 8;
  lua_pop(L, 1);
  return GRB_STEPS;
}

static grb_work begin(lua_State *L) {
  return (grb_work){L, gr_state_of(L), 0};
}

/* t[to] = t[from], of tables at `a` and `b` */
static void copy(lua_State *L, int a, lua_Integer from, int b, lua_Integer to) {
  lua_geti(L, a, from);
  lua_seti(L, b, to);
}

static int tab_insert(lua_State *L) {
  grb_work work = begin(L);
  check(L, 1, "inl");
  lua_Integer end = (lua_Integer)((lua_Unsigned)luaL_len(L, 1) + 1), at = end;
  int n = lua_gettop(L);
  if (n != 2 && n != 3)
    return luaL_error(L, "wrong number of arguments to 'insert'");
  if (n == 3) at = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n == 2 || (lua_Unsigned)at - 1 < (lua_Unsigned)end, 2,
                "position out of bounds");
  size_t each = cost(L, 1);
  for (lua_Integer i = end; i > at; i--) {
    copy(L, 1, i - 1, 1, i);
    grb_spend(&work, each);
  }
  lua_seti(L, 1, at);
  return 0;
}

static int tab_remove(lua_State *L) {
  grb_work work = begin(L);
  check(L, 1, "inl");
  lua_Integer size = luaL_len(L, 1), at = luaL_optinteger(L, 2, size);
  luaL_argcheck(L, at == size || (lua_Unsigned)at - 1 <= (lua_Unsigned)size, 2,
                "position out of bounds");
  lua_geti(L, 1, at);
  size_t each = cost(L, 1);
  for (; at < size; at++) {
    copy(L, 1, at + 1, 1, at);
    grb_spend(&work, each);
  }
  lua_pushnil(L);
  lua_seti(L, 1, at);
  return 1;
}

static void move(lua_State *L, lua_Integer f, lua_Integer e, lua_Integer t,
                 int to) {
  grb_work work = begin(L);
  size_t each = cost(L, 1) + cost(L, to);
  bool up = t > e || t <= f || (to != 1 && !lua_compare(L, 1, to, LUA_OPEQ));
  for (lua_Integer i = 0, n = e - f + 1; i < n; i++) {
    lua_Integer k = up ? i : n - 1 - i;
    copy(L, 1, f + k, to, t + k);
    grb_spend(&work, each);
  }
}

static int tab_move(lua_State *L) {
  lua_Integer f = luaL_checkinteger(L, 2), e = luaL_checkinteger(L, 3),
              t = luaL_checkinteger(L, 4);
  int to = lua_isnoneornil(L, 5) ? 1 : 5;
  check(L, 1, "i");
  check(L, to, "n");
  if (e >= f) {
    luaL_argcheck(L, f > 0 || e < LUA_MAXINTEGER + f, 3,
                  "too many elements to move");
    luaL_argcheck(L, t <= LUA_MAXINTEGER - (e - f + 1) + 1, 4,
                  "destination wrap around");
    move(L, f, e, t, to);
  }
  lua_pushvalue(L, to);
  return 1;
}

static void add_field(lua_State *L, luaL_Buffer *b, lua_Integer i) {
  lua_geti(L, 1, i);
  if (!lua_isstring(L, -1))
    luaL_error(L, "invalid value (%s) at index %I in table for 'concat'",
               luaL_typename(L, -1), (LUAI_UACINT)i);
  luaL_addvalue(b);
}

static int tab_concat(lua_State *L) {
  grb_work work = begin(L);
  luaL_Buffer b;
  size_t length;
  check(L, 1, "il");
  lua_Integer last = luaL_len(L, 1);
  const char *between = luaL_optlstring(L, 2, "", &length);
  lua_Integer i = luaL_optinteger(L, 3, 1);
  last = luaL_optinteger(L, 4, last);
  size_t each = cost(L, 1);
  luaL_buffinit(L, &b);
  for (; i < last; i++) {
    add_field(L, &b, i);
    luaL_addlstring(&b, between, length);
    grb_spend(&work, each);
  }
  if (i == last) add_field(L, &b, i);
  luaL_pushresult(&b);
  return 1;
}

/* --- sort ----------------------------------------------------------------- */

/* In Lua, so that a hook stops it. */
static const char by_order[] = "local a, b = ... return a < b";
static const char by_function[] =
    "local f = ... return function(a, b) return f(a, b) end";

static void push_chunk(lua_State *L, const char *code) {
  if (luaL_loadbufferx(L, code, strlen(code), "=sort", "t")) lua_error(L);
}

/* Can it take long?  `#` may be anything where there is a metatable. */
static bool is_long(lua_State *L) {
  return cost(L, 1) == GRB_STEPS ||
         (lua_istable(L, 1) && lua_rawlen(L, 1) > QUICKLY_SORTED);
}

/* Upvalue 2: Lua's own. */
static int tab_sort(lua_State *L) {
  lua_settop(L, 2);
  if (lua_iscfunction(L, 2)) {
    push_chunk(L, by_function);
    lua_insert(L, 2);
    lua_call(L, 1, 1);
  } else if (lua_isnil(L, 2) && is_long(L)) {
    push_chunk(L, by_order);
    lua_replace(L, 2);
  }
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, 2, 0);
  return 0;
}

/* --- the module ----------------------------------------------------------- */

static const luaL_Reg functions[] = {{"concat", tab_concat},
                                     {"insert", tab_insert},
                                     {"move", tab_move},
                                     {"remove", tab_remove},
                                     {NULL, NULL}};

void grb_push_table_functions(lua_State *L, gr_state *S) {
  lua_newtable(L);
  gr_setfuncs(L, S, functions);
  lua_pushlightuserdata(L, S);
  lua_getglobal(L, LUA_TABLIBNAME);
  lua_getfield(L, -1, "sort");
  lua_remove(L, -2);
  lua_pushcclosure(L, tab_sort, 2);
  lua_setfield(L, -2, "sort");
}
