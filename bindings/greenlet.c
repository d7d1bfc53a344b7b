/* greenlua.core: greenlets, and waiting for time and for one another.
 * lua/greenlua/greenlet.lua builds the public class on it. */
#include <assert.h>
#include <math.h>

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "greenlualib.h"
#include "state.h"

static const gr_wait sleep_wait = {.name = "sleep"};
static const gr_wait join_wait = {.name = "join"};
static const gr_wait drain_wait = {.name = "run", .calm = true};
static const gr_wait idle_wait = {.name = "idle"};

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

/* new(metatable, own, f, ...): a fresh greenlet of a class; `own`: it gets
 * itself as its function's first argument. */
static int new(lua_State *L) {
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
  lua_setmetatable(L, -2);
  return 1;
}

static double check_delay(lua_State *L, int arg) {
  double seconds = luaL_checknumber(L, arg);
  luaL_argcheck(L, seconds >= 0, arg,
                "a delay is a number of seconds, not negative");
  return gr_now() + seconds;
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

/* Push all values of one that has ended without an error. */
static int push_values(lua_State *L, gr_greenlet *g) {
  if (!(g->w.flags & GR_MANY)) {
    lua_getiuservalue(L, 1, 1);
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

/* outcome(g) -> state, failed, first value or error.  State: "fresh", "ready",
 * "running", "parked", "dead". */
static int outcome(lua_State *L) {
  static const char *const names[] = {"fresh", "ready", "running", "parked",
                                      "dead"};
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_pushstring(L, names[g->w.state]);
  lua_pushboolean(L, g->w.flags & GR_FAILED);
  if (g->w.state != GR_DEAD)
    return 2;
  push_values(L, g);
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
  gr_push_table(L, S, GR_T_RAISED);
  gr_push_greenlet(L, S, current(S));
  lua_rawget(L, -2);
  lua_pushboolean(L, !lua_isnil(L, 1) && lua_rawequal(L, 1, -1));
  return 1;
}

/* --- waiting ------------------------------------------------------------ */

static int sleep_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  gr_woken(L, gr_state_of(L), ctx, sleep_k);
  return 0;
}

/* sleep([seconds [, ref]]) */
static int l_sleep(lua_State *L) {
  gr_state *S = gr_state_of(L);
  double seconds = luaL_optnumber(L, 1, 0);
  if (seconds <= 0) {
    gr_can_block(L, S, INFINITY);
    return gr_give_way(L, S, 0, sleep_k);
  }
  luaL_argcheck(L, !isnan(seconds), 1, "not a number of seconds (NaN)");
  bool daemon = !lua_isnoneornil(L, 2) && !lua_toboolean(L, 2);
  double at = gr_now() + seconds;
  if (at == INFINITY) at = HUGE_VAL;
  gr_can_block(L, S, at);
  gr_arm(&S->hub, at, daemon);
  return gr_park(L, S, &sleep_wait, false, 0, sleep_k);
}

static int join_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, join_k) == GR_TIMEDOUT) {
    gr_timed_out(L, 2);
    lua_pushboolean(L, 0);
  } else {
    lua_pushboolean(L, 1);
  }
  return 1;
}

/* Wait for the end of greenlet 1 until the timeout in argument 2. */
static int await(lua_State *L, gr_state *S, gr_greenlet *g, double at,
                 const gr_wait *what, lua_KFunction k) {
  gr_greenlet *me = gr_can_block(L, S, at);
  if (me == g) return luaL_error(L, "a greenlet cannot wait for its own end");
  gr_list_append(&g->joiners, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, what, false, 0, k);
}

/* join(g [, timeout]) -> true, or false if the timeout came first */
static int join(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_check_greenlet(L, 1);
  double at = gr_check_deadline(L, S, 2);
  if (g->w.state == GR_DEAD || at == 0) {
    lua_pushboolean(L, g->w.state == GR_DEAD);
    return 1;
  }
  lua_settop(L, 2);
  return await(L, S, g, at, &join_wait, join_k);
}

static int deliver(lua_State *L, gr_greenlet *g) {
  if (!(g->w.flags & GR_FAILED)) return push_values(L, g);
  lua_getiuservalue(L, 1, 1);
  return lua_error(L);
}

static int raise_timeout(lua_State *L) {
  gr_timed_out(L, 2);
  gr_timeout *t = gr_timeout_new(L, gr_state_of(L), lua_tonumber(L, 2));
  t->fired = true;
  return lua_error(L);
}

static int get_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, get_k) == GR_TIMEDOUT)
    return raise_timeout(L);
  return deliver(L, gr_check_greenlet(L, 1));
}

/* get(g [, timeout]) -> its values; raises its error, or a Timeout */
static int get(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_check_greenlet(L, 1);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  if (g->w.state == GR_DEAD) return deliver(L, g);
  if (at == 0) return raise_timeout(L);
  return await(L, S, g, at, &gr_wait_get, get_k);
}

/* Push the greenlets of list 1 that have ended, in the order of their ends. */
static int by_end(const void *a, const void *b) {
  uint32_t x = ((const uint32_t *)a)[0], y = ((const uint32_t *)b)[0];
  return x < y ? -1 : x > y;
}

static int push_ended(lua_State *L) {
  lua_Unsigned n = lua_rawlen(L, 1), count = 0;
  uint32_t(*order)[2] = lua_newuserdatauv(L, n * sizeof *order + 1, 0);
  bool sorted = true;
  for (lua_Unsigned i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, (lua_Integer)i);
    gr_greenlet *g = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (g->w.state != GR_DEAD) continue;
    if (count && order[count - 1][0] > g->ended) sorted = false;
    order[count][0] = g->ended;
    order[count++][1] = (uint32_t)i;
  }
  if (!sorted) qsort(order, count, sizeof *order, by_end);
  lua_createtable(L, (int)count, 0);
  for (lua_Unsigned i = 0; i < count; i++) {
    lua_rawgeti(L, 1, order[i][1]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int join_list_k(lua_State *L, int status, lua_KContext ctx);

/* Join one after the other, from index `i` on: who has ended by then costs no
 * park. */
static int join_from(lua_State *L, gr_state *S, lua_Integer i, double at) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  for (; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    gr_greenlet *g = gr_to_greenlet(L, -1);
    lua_pop(L, 1); /* the list keeps it */
    if (!g) return luaL_error(L, "the list has changed while it was awaited");
    if (g->w.state == GR_DEAD) continue;
    gr_greenlet *me = gr_can_block(L, S, at);
    if (me == g) return luaL_error(L, "a greenlet cannot wait for its own end");
    gr_list_append(&g->joiners, &me->w.node);
    gr_arm(&S->hub, at, false);
    return gr_park(L, S, &join_wait, false, i, join_list_k);
  }
  return push_ended(L);
}

static int join_list_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, join_list_k) == GR_TIMEDOUT) {
    gr_timed_out(L, 2);
    return push_ended(L);
  }
  return join_from(L, S, (lua_Integer)ctx, lua_tonumber(L, 3));
}

/* join_list(list [, timeout]) -> those that have ended, in the order of their
 * ends; nil if not all are greenlets */
static int join_list(lua_State *L) {
  gr_state *S = gr_state_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  lua_pushnumber(L, at);
  for (lua_Integer i = (lua_Integer)lua_rawlen(L, 1); i > 0; i--) {
    lua_rawgeti(L, 1, i);
    if (!gr_to_greenlet(L, -1)) return lua_pushnil(L), 1;
    lua_pop(L, 1);
  }
  return at == 0 ? push_ended(L) : join_from(L, S, 1, at);
}

static int drain_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, drain_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 1);
  lua_pushboolean(L, how != GR_TIMEDOUT);
  return 1;
}

/* drain([timeout]): main waits until nothing is left that could run. */
static int drain(lua_State *L) {
  gr_state *S = gr_state_of(L);
  double at = gr_check_deadline(L, S, 1);
  if (current(S) != S->main)
    return luaL_error(L, "only main can wait for everything to end");
  if (!S->living || at == 0) {
    lua_pushboolean(L, !S->living);
    return 1;
  }
  gr_can_block(L, S, at);
  gr_arm(&S->hub, at, true);
  return gr_park(L, S, &drain_wait, false, 0, drain_k);
}

static int idle_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  gr_woken(L, gr_state_of(L), ctx, idle_k);
  return 0;
}

/* idle(): wait until nobody else is ready and the loop has nothing to tell */
static int idle(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *me = gr_can_block(L, S, INFINITY);
  gr_hub_await_idle(&S->hub, &me->w);
  return gr_park(L, S, &idle_wait, true, 0, idle_k);
}

/* --- ending ------------------------------------------------------------- */

/* interrupt(g, err): raise `err` in it, at once if it is the running one */
static int interrupt(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_greenlet *g = gr_check_greenlet(L, 1);
  lua_settop(L, 2);
  if (g == current(S)) return gr_raise(L, S, g);
  gr_interrupt(L, S, 1);
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
    push_values(L, g);
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
  static const char *const names[] = {"greenlet", "exit", "on_end",
                                      "loop_exit", NULL};
  int p = luaL_checkoption(L, 1, NULL, names) + GR_P_GREENLET;
  lua_settop(L, 2);
  gr_push_table(L, gr_state_of(L), GR_T_POLICY);
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
  lua_pushnumber(L, gr_now());
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
  static const luaL_Reg funcs[] = {
      {"spawn", spawn},
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
      {"sleep", l_sleep},
      {"join", join},
      {"join_list", join_list},
      {"get", get},
      {"drain", drain},
      {"idle", idle},
      {"interrupt", interrupt},
      {"close", l_close},
      {"metatable", metatable},
      {"policy", policy},
      {"stacks", stacks},
      {"now", l_gettime},
      {"is_greenlet", is_greenlet},
      {"fail_allocation", fail_allocation},
      {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
