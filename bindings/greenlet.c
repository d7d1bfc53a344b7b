/* greenlua.core: greenlets.  lua/greenlua/greenlet.lua builds the public class
 * on it. */

#include <string.h>

#include "alloc.h"
#include "greenlualib.h"
#include "limit/limit.h"
#include "state.h"

static gr_greenlet *current(gr_state *S) {
  return (gr_greenlet *)(void *)S->hub.current;
}

/* --- making ------------------------------------------------------------- */

static void check_callable(lua_State *L, int arg) {
  if (lua_isfunction(L, arg)) return;
  if (luaL_getmetafield(L, arg, "__call") == LUA_TNIL)
    luaL_typeerror(L, arg, "function or callable");
  lua_pop(L, 1);
}

/* spawn(f, ...) */
static int spawn(lua_State *L) {
  gr_state *S = gr_state_of(L);
  check_callable(L, 1);
  gr_greenlet *g = gr_greenlet_new(L, S, lua_gettop(L) - 1);
  gr_greenlet_start(L, S, g);
  return 1;
}

/* account() -> of the running greenlet, or nil if it has none of its own */
static int account(lua_State *L) {
  gr_state *S = gr_state_of(L);
  if (!S->limits || !gr_limit_push_account(L, S)) lua_pushnil(L);
  return 1;
}

/* spawn_for(account, f, ...): what account() has returned */
static int spawn_for(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_greenlet_new(L, S, lua_gettop(L) - 2);
  lua_pushvalue(L, 1);
  if (S->limits && lua_isuserdata(L, 1)) gr_limit_charge(L, S);
  lua_settop(L, 2);
  gr_greenlet_start(L, S, g);
  return 1;
}

/* new(metatable, own, f, ...): a fresh greenlet of a class; `own`: it gets
 * itself as its function's first argument. */
static int new (lua_State *L) {
  gr_state *S = gr_state_of(L);
  bool own = lua_toboolean(L, 2);
  check_callable(L, 3);
  if (own) { /* a place for itself among its arguments */
    lua_pushnil(L);
    lua_insert(L, 4);
  }
  gr_greenlet_new(L, S, lua_gettop(L) - 3);
  if (own) {
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -2, 2);
  }
  lua_pushvalue(L, 1);
  gr_set_class(L, S, -2);
  return 1;
}

static double check_delay(lua_State *L, int arg) {
  double seconds = luaL_checknumber(L, arg);
  luaL_argcheck(L, seconds >= 0, arg,
                "a delay is a number of seconds, not negative");
  return gr_hub_now(&gr_state_of(L)->hub) + seconds;
}

static bool startable(const gr_greenlet *g) {
  return g->w.state == GR_FRESH && !gr_timer_set(&g->w.timer);
}

/* start(g): only the first start counts. */
static int start(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_settop(L, 1);
  if (startable(g)) gr_greenlet_start(L, gr_state_of(L), g);
  return 1;
}

/* start_later(g, seconds) */
static int start_later(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  double at = check_delay(L, 2);
  lua_settop(L, 1);
  if (startable(g)) gr_greenlet_start_at(L, gr_state_of(L), g, at);
  return 1;
}

/* --- looking ------------------------------------------------------------ */

static int l_current(lua_State *L) {
  gr_state *S = gr_state_of(L);
  if (S->hub.current)
    gr_push_greenlet(L, S, current(S));
  else
    lua_pushnil(L);
  return 1;
}

static int ready(lua_State *L) {
  lua_pushboolean(L, gr_check_greenlet(L, 1)->w.state == GR_DEAD);
  return 1;
}

static int successful(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_pushboolean(L, g->w.state == GR_DEAD && !(g->w.flags & GR_FAILED));
  return 1;
}

/* outcome(g) -> state, failed, first value or error.  State: "fresh", "ready",
 * "running", "parked", "dead". */
static int outcome(lua_State *L) {
  static const char *const names[] = {"fresh", "ready", "running", "parked",
                                      "dead"};
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_pushstring(L, names[g->w.state]);
  lua_pushboolean(L, g->w.flags & GR_FAILED);
  if (g->w.state != GR_DEAD) return 2;
  gr_push_values(L, 1);
  lua_settop(L, 4);
  return 3;
}

static int started(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_pushboolean(L, g->w.state != GR_DEAD && !startable(g));
  return 1;
}

/* id(g) -> a small number, 0 for main; not unique among the dead. */
static int id(lua_State *L) {
  lua_pushinteger(L, gr_check_greenlet(L, 1)->slot);
  return 1;
}

/* ended(g) -> the order of its end among all, 0 while it lives. */
static int ended(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_pushinteger(L, g->w.state == GR_DEAD ? g->ended : 0);
  return 1;
}

/* extra(g, make) -> its table, for the Lua side. */
static int extra(lua_State *L) {
  gr_check_greenlet(L, 1);
  gr_push_extra(L, gr_state_of(L), 1, lua_toboolean(L, 2));
  return 1;
}

/* linked(g, flag): shall its end be told to the Lua side? */
static int linked(lua_State *L) {
  gr_greenlet *g = gr_check_greenlet(L, 1);
  if (lua_toboolean(L, 2))
    g->w.flags |= GR_LINKED;
  else
    g->w.flags &= (uint8_t)~GR_LINKED;
  return 0;
}

/* live() -> array of the living but main, oldest slot first. */
static int live(lua_State *L) {
  gr_state *S = gr_state_of(L);
  lua_createtable(L, (int)S->living, 0);
  gr_push_table(L, S, GR_T_LIVE);
  lua_Integer n = 0;
  for (uint32_t i = 1; i <= S->nslots; i++) {
    if (lua_rawgeti(L, -1, i) == LUA_TUSERDATA)
      lua_rawseti(L, -3, ++n);
    else
      lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return 1;
}

/* standing(g) -> what it waits for, the coroutines that stand in it, outermost
 * first; nil if it is not parked. */
static int standing(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_check_greenlet(L, 1);
  if (g->w.state != GR_PARKED) return 0;
  lua_pushstring(L, g->w.what->name);
  lua_newtable(L);
  lua_State *co = g->L, *last = gr_blocked_thread(S, g);
  for (lua_Integer i = 1; co; i++) {
    if (!lua_checkstack(co, 1)) break;
    lua_pushthread(co);
    if (co != L) lua_xmove(co, L, 1);
    lua_rawseti(L, -2, i);
    co = co == last ? NULL : gr_resumee(co);
  }
  return 2;
}

/* raised(value) -> is it what last interrupted the running greenlet? */
static int raised(lua_State *L) {
  gr_state *S = gr_state_of(L);
  lua_settop(L, 1);
  if (!S->hub.current) return lua_pushboolean(L, 0), 1;
  gr_push_table(L, S, GR_T_RAISED);
  gr_push_greenlet(L, S, current(S));
  lua_rawget(L, -2);
  lua_pushboolean(L, !lua_isnil(L, 1) && lua_rawequal(L, 1, -1));
  return 1;
}

/* --- ending ------------------------------------------------------------- */

/* kill(g, err): raise `err` where it waits, or will wait next */
static int l_kill(lua_State *L) {
  gr_check_greenlet(L, 1);
  lua_settop(L, 2);
  gr_interrupt(L, gr_state_of(L), 1);
  return 0;
}

/* close(g, value): end it for good; `value` is what it ends with. */
static int l_close(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_settop(L, 2);
  if (g == S->main)
    return luaL_error(L, "main cannot be closed (green.shutdown ends it)");
  if (g == current(S))
    return luaL_error(L, "a greenlet cannot close itself (return, or raise)");
  gr_greenlet_close(L, S, 1);
  return 0;
}

/* --- the module --------------------------------------------------------- */

/* Fields of greenlets that are computed. */
static int property(lua_State *L, gr_state *S, const char *key) {
  gr_greenlet *g = lua_touserdata(L, 1);
  bool dead = g->w.state == GR_DEAD, failed = g->w.flags & GR_FAILED;
  switch (*key) {
  case 'v':
    if (strcmp(key, "value")) return 0;
    if (!dead || failed) return lua_pushnil(L), 1;
    gr_push_values(L, 1);
    lua_settop(L, 3);
    return 1;
  case 'e':
    if (strcmp(key, "exception")) return 0;
    if (failed)
      lua_getiuservalue(L, 1, 1);
    else
      lua_pushnil(L);
    return 1;
  case 'd':
    if (strcmp(key, "dead")) return 0;
    return lua_pushboolean(L, dead), 1;
  case 's':
    if (strcmp(key, "started")) return 0;
    return started(L);
  case 'n':
    if (strcmp(key, "name")) return 0;
    return gr_push_name(L, S, 1), 1;
  case 't':
    if (strcmp(key, "traceback")) return 0;
    gr_push_extra(L, S, 1, false);
    if (lua_istable(L, -1)) lua_getfield(L, -1, "traceback");
    return 1;
  default:
    return 0;
  }
}

/* __index(g, key), with the state and the class as upvalues: a method, a
 * computed field, or one that the program set. */
static int get_field(lua_State *L) {
  gr_state *S = gr_state_of(L);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_gettable(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  lua_pop(L, 1);
  if (lua_type(L, 2) == LUA_TSTRING) {
    int n = property(L, S, lua_tostring(L, 2));
    if (n) return n;
  }
  gr_push_extra(L, S, 1, false);
  if (!lua_istable(L, -1)) return 1;
  if (lua_getfield(L, -1, "fields") != LUA_TTABLE) return lua_pushnil(L), 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* __newindex(g, key, value) */
static int set_field(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_check_greenlet(L, 1);
  gr_push_extra(L, S, 1, true);
  if (lua_getfield(L, -1, "fields") != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "fields");
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}

/* metatable(class, name) -> metatable of the class's instances */
static int metatable(lua_State *L) {
  gr_state *S = gr_state_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkstring(L, 2);
  lua_newtable(L);
  gr_mark_class(L);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "__name");
  lua_pushlightuserdata(L, S);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, get_field, 2);
  lua_setfield(L, -2, "__index");
  lua_pushlightuserdata(L, S);
  lua_pushcclosure(L, set_field, 1);
  lua_setfield(L, -2, "__newindex");
  return 1;
}

/* policy(name, value): see GR_T_POLICY */
static int policy(lua_State *L) {
  static const char *const names[] = {"greenlet", "exit", "on_end", "loop_exit",
                                      NULL};
  gr_state *S = gr_state_of(L);
  int p = luaL_checkoption(L, 1, NULL, names) + GR_P_GREENLET;
  lua_settop(L, 2);
  if (p == GR_P_GREENLET) { /* main was made before there was one */
    gr_push_greenlet(L, S, S->main);
    lua_pushvalue(L, 2);
    lua_setmetatable(L, -2);
  }
  gr_push_table(L, S, GR_T_POLICY);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, p);
  return 0;
}

/* stacks([limit]) -> C stacks in use, the limit */
static int stacks(lua_State *L) {
  gr_hub *hub = &gr_state_of(L)->hub;
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer limit = luaL_checkinteger(L, 1);
    luaL_argcheck(L, limit > 0 && limit <= 1000000, 1,
                  "a number of C stacks from 1 to 1000000");
    hub->max_stacks = (unsigned)limit;
  }
  lua_pushinteger(L, hub->nstacks);
  lua_pushinteger(L, hub->max_stacks);
  return 2;
}

static int l_gettime(lua_State *L) {
  lua_pushnumber(L, gr_hub_now(&gr_state_of(L)->hub));
  return 1;
}

/* report(text): to the host, or false: on stderr it is */
static int report(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  lua_pushboolean(L, gr_report_to_host(gr_state_of(L), text));
  return 1;
}

/* stop_host() -> has the host been told of the end? */
static int stop_host(lua_State *L) {
  lua_pushboolean(L, gr_stop_host(gr_state_of(L)));
  return 1;
}

static int is_greenlet(lua_State *L) {
  lua_pushboolean(L, gr_to_greenlet(L, 1) != NULL);
  return 1;
}

/* fail_allocation([n]): see gr_alloc_fail; a testing build only */
static int fail_allocation(lua_State *L) {
  lua_pushinteger(L, gr_alloc_fail((long)luaL_optinteger(L, 1, 0)));
  return 1;
}

int luaopen_greenlua_core(lua_State *L) {
  static const luaL_Reg funcs[] = {{"spawn", spawn},
                                   {"spawn_for", spawn_for},
                                   {"account", account},
                                   {"new", new},
                                   {"start", start},
                                   {"start_later", start_later},
                                   {"current", l_current},
                                   {"ready", ready},
                                   {"successful", successful},
                                   {"outcome", outcome},
                                   {"started", started},
                                   {"id", id},
                                   {"ended", ended},
                                   {"extra", extra},
                                   {"linked", linked},
                                   {"live", live},
                                   {"standing", standing},
                                   {"raised", raised},
                                   {"kill", l_kill},
                                   {"close", l_close},
                                   {"metatable", metatable},
                                   {"policy", policy},
                                   {"stacks", stacks},
                                   {"now", l_gettime},
                                   {"report", report},
                                   {"stop_host", stop_host},
                                   {"is_greenlet", is_greenlet},
                                   {"fail_allocation", fail_allocation},
                                   {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
