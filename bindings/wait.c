/* greenlua.core.wait: waiting for time, and for the ends of greenlets. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "greenlualib.h"
#include "state.h"

static const gr_wait sleep_wait = {.name = "sleep"};
static const gr_wait join_wait = {.name = "join"};
static const gr_wait drain_wait = {.name = "run", .calm = true};
static const gr_wait idle_wait = {.name = "idle"};

static gr_greenlet *current(gr_state *S) {
  return (gr_greenlet *)(void *)S->hub.current;
}

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
  double at = gr_hub_now(&S->hub) + seconds;
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

/* Wait for the end of `g`. */
static int await(lua_State *L, gr_state *S, gr_greenlet *g, double at,
                 const gr_wait *what, lua_KContext ctx, lua_KFunction k) {
  gr_greenlet *me = gr_can_block(L, S, at);
  if (me == g) return luaL_error(L, "a greenlet cannot wait for its own end");
  gr_list_append(&g->joiners, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, what, false, ctx, k);
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
  return await(L, S, g, at, &join_wait, 0, join_k);
}

static int deliver(lua_State *L, gr_greenlet *g) {
  if (!(g->w.flags & GR_FAILED)) return gr_push_values(L, 1);
  lua_getiuservalue(L, 1, 1);
  return lua_error(L);
}

static int raise_timeout(lua_State *L) {
  gr_timed_out(L, 2);
  gr_timeout *t = gr_timeout_new(L, gr_state_of(L), lua_tonumber(L, 2));
  t->fired = true;
  return gr_raise(L, gr_state_of(L), t->target);
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
  return await(L, S, g, at, &gr_wait_get, 0, get_k);
}

/* --- waiting for many --------------------------------------------------- */

/* A list of greenlets that is awaited: the Lua side may change its own. */
typedef struct joinset {
  lua_Unsigned n;
  uint32_t last;     /* the end of the one before the next to join */
  bool unsorted;     /* not all so far have ended in their order */
  gr_greenlet *of[]; /* kept alive by the copy of the list at index 4 */
} joinset;

enum { LIST = 1, TIMEOUT, DEADLINE, COPY, SET }; /* on the stack */

/* Copy the list; false if something else than a greenlet is in it. */
static bool copy_list(lua_State *L) {
  const void *class = NULL; /* the metatable of the last one */
  lua_Unsigned n = lua_rawlen(L, LIST);
  luaL_argcheck(L, n <= INT_MAX / 16, LIST, "too many greenlets");
  lua_createtable(L, (int)n, 0);
  joinset *set = lua_newuserdatauv(L, sizeof *set + n * sizeof *set->of, 0);
  *set = (joinset){0};
  for (; set->n < n; set->n++) {
    lua_rawgeti(L, LIST, (lua_Integer)set->n + 1);
    if (lua_getmetatable(L, -1)) {
      const void *mt = lua_topointer(L, -1);
      lua_pop(L, 1);
      if (mt != class && !gr_to_greenlet(L, -1)) return false;
      class = mt;
    } else {
      return false;
    }
    set->of[set->n] = lua_touserdata(L, -1);
    lua_rawseti(L, COPY, (lua_Integer)set->n + 1);
  }
  return true;
}

typedef struct place {
  uint32_t ended, index;
} place;

static int by_end(const void *a, const void *b) {
  uint32_t x = ((const place *)a)->ended, y = ((const place *)b)->ended;
  return x < y ? -1 : x > y;
}

/* Push those that have ended, in the order of their ends. */
static int push_ended(lua_State *L) {
  joinset *set = lua_touserdata(L, SET);
  uint32_t count = 0;
  for (lua_Unsigned i = 0; i < set->n; i++)
    count += set->of[i]->w.state == GR_DEAD;
  place *places = lua_newuserdatauv(L, count * sizeof *places + 1, 0);
  count = 0;
  for (lua_Unsigned i = 0; i < set->n; i++)
    if (set->of[i]->w.state == GR_DEAD)
      places[count++] = (place){set->of[i]->ended, (uint32_t)i + 1};
  qsort(places, count, sizeof *places, by_end);
  lua_createtable(L, (int)count, 0);
  for (uint32_t i = 0; i < count; i++) {
    lua_rawgeti(L, COPY, places[i].index);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int join_list_k(lua_State *L, int status, lua_KContext ctx);

/* Join one after the other, from number `i` on: for who has ended by then,
 * nobody parks. */
static int join_from(lua_State *L, gr_state *S, lua_Unsigned i) {
  joinset *set = lua_touserdata(L, SET);
  for (; i < set->n; i++) {
    gr_greenlet *g = set->of[i];
    if (g->w.state != GR_DEAD) {
      double at = lua_tonumber(L, DEADLINE);
      return await(L, S, g, at, &join_wait, (lua_KContext)i, join_list_k);
    }
    if (g->ended < set->last) set->unsorted = true;
    set->last = g->ended;
  }
  if (set->unsorted) return push_ended(L);
  return lua_settop(L, COPY), 1;
}

static int join_list_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, join_list_k) == GR_TIMEDOUT) {
    gr_timed_out(L, TIMEOUT);
    return push_ended(L);
  }
  return join_from(L, S, (lua_Unsigned)ctx);
}

/* join_list(list [, timeout]) -> those that have ended, in the order of their
 * ends; nil if not all are greenlets */
static int join_list(lua_State *L) {
  gr_state *S = gr_state_of(L);
  luaL_checktype(L, LIST, LUA_TTABLE);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  lua_pushnumber(L, at);
  if (!copy_list(L)) return lua_pushnil(L), 1;
  return at == 0 ? push_ended(L) : join_from(L, S, 0);
}

/* --- waiting for the rest ----------------------------------------------- */

static int drain_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, drain_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 1);
  lua_pushboolean(L, how != GR_TIMEDOUT);
  return 1;
}

/* drain([timeout]): main waits until nothing is left that could run; nil for
 * others, who cannot. */
static int drain(lua_State *L) {
  gr_state *S = gr_state_of(L);
  double at = gr_check_deadline(L, S, 1);
  if (current(S) != S->main) return lua_pushnil(L), 1;
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

int luaopen_greenlua_core_wait(lua_State *L) {
  static const luaL_Reg funcs[] = {{"sleep", l_sleep}, {"idle", idle},
                                   {"join", join},     {"get", get},
                                   {"drain", drain},   {"join_list", join_list},
                                   {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  return 1;
}
