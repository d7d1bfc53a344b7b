/* greenlua.core.timeout: the Timeout object.  See lua/greenlua/timeout.lua. */
#include <math.h>
#include <string.h>

#include "greenlualib.h"
#include "state.h"

static gr_timeout *check_timeout(lua_State *L, int arg) {
  gr_timeout *t = gr_to_timeout(L, arg);
  if (!t) luaL_typeerror(L, arg, "Timeout");
  return t;
}

static double check_seconds(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return NAN;
  if (lua_type(L, arg) != LUA_TNUMBER)
    luaL_typeerror(L, arg, "number of seconds or nil");
  double seconds = lua_tonumber(L, arg);
  luaL_argcheck(L, seconds >= 0, arg,
                "a timeout is a number of seconds, not negative");
  return seconds;
}

static void check_owner(lua_State *L, const gr_state *S) {
  gr_check_open(L, S);
  if (!S->hub.current)
    luaL_error(L, "a Timeout belongs to a greenlet, and the hub itself is "
                  "running this function");
}

/* new([seconds [, err [, ref]]]): started at once */
static int new (lua_State *L) {
  gr_state *S = gr_state_of(L);
  double seconds = check_seconds(L, 1);
  bool daemon = !lua_isnoneornil(L, 3) && !lua_toboolean(L, 3);
  lua_settop(L, 2);
  check_owner(L, S);
  gr_timeout_new(L, S, seconds)->daemon = daemon;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  gr_timeout_start(L, S, -1);
  return 1;
}

/* t:start([seconds]): again, for the greenlet that calls */
static int start(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_timeout *t = check_timeout(L, 1);
  check_owner(L, S);
  if (!lua_isnoneornil(L, 2)) t->seconds = check_seconds(L, 2);
  lua_settop(L, 1);
  gr_timeout_cancel(L, S, t);
  t->target = (gr_greenlet *)(void *)S->hub.current;
  gr_push_greenlet(L, S, t->target);
  lua_setiuservalue(L, 1, 2);
  gr_timeout_start(L, S, 1);
  return 1;
}

static int cancel(lua_State *L) {
  gr_timeout *t = check_timeout(L, 1);
  if (gr_node_linked(&t->node) && !t->due) t->fired = false; /* nor will it */
  gr_timeout_cancel(L, gr_state_of(L), t);
  return 0;
}

static const char *state_of(const gr_timeout *t) {
  if (t->fired) return "expired";
  return gr_timer_set(&t->alarm.timer) ? "pending" : "not running";
}

static int tostring(lua_State *L) {
  gr_timeout *t = check_timeout(L, 1);
  if (isnan(t->seconds)) {
    lua_pushliteral(L, "Timeout: never");
    return 1;
  }
  lua_pushnumber(L, t->seconds);
  if (t->seconds == floor(t->seconds) && t->seconds < 1e15) {
    lua_pop(L, 1);
    lua_pushinteger(L, (lua_Integer)t->seconds);
  }
  lua_pushfstring(L, "Timeout: %s %s (%s)", lua_tostring(L, -1),
                  t->seconds == 1 ? "second" : "seconds", state_of(t));
  return 1;
}

/* __index, with the state and the methods as upvalues */
static int get_field(lua_State *L) {
  gr_timeout *t = check_timeout(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (!strcmp(key, "seconds") && !isnan(t->seconds))
    lua_pushnumber(L, t->seconds);
  else if (!strcmp(key, "pending"))
    lua_pushboolean(L, gr_timer_set(&t->alarm.timer));
  else
    lua_pushnil(L);
  return 1;
}

static int is(lua_State *L) {
  lua_pushboolean(L, gr_to_timeout(L, 1) != NULL);
  return 1;
}

int luaopen_greenlua_core_timeout(lua_State *L) {
  static const luaL_Reg funcs[] = {{"new", new}, {"is", is}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"start", start}, {"cancel", cancel}, {"close", cancel}, {NULL, NULL}};
  static const luaL_Reg meta[] = {
      {"__tostring", tostring}, {"__close", cancel}, {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newmetatable(L, "greenlua.Timeout");
  lua_pushliteral(L, "Timeout");
  lua_setfield(L, -2, "__name");
  gr_setfuncs(L, S, meta);
  lua_pushlightuserdata(L, S);
  luaL_newlibtable(L, methods);
  gr_setfuncs(L, S, methods);
  lua_pushcclosure(L, get_field, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
