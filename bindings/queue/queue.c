/* greenlua.core.queue: queues and channels.  lua/greenlua/queue.lua says what
 * they promise. */
#include <string.h>

#include "greenlualib.h"
#include "queue.h"

const char grb_queue_mark = 'q';

static const gr_wait join_wait = {.name = "join"};

enum { SELF = 1, TIMEOUT };

/* --- work that is done ---------------------------------------------------- */

static int join_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, join_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, TIMEOUT);
  lua_pushboolean(L, how != GR_TIMEDOUT);
  return 1;
}

/* join(q [, timeout]) -> boolean */
static int join(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = grb_check_queue(L);
  double at = gr_check_deadline(L, S, TIMEOUT);
  if (!q->unfinished || at == 0) {
    lua_pushboolean(L, !q->unfinished);
    return 1;
  }
  lua_settop(L, TIMEOUT);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&q->joiners, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &join_wait, false, 0, join_k);
}

static void finish(gr_state *S, grb_queue *q, uint64_t n) {
  q->unfinished -= n < q->unfinished ? n : q->unfinished;
  if (!q->unfinished) gr_wake_all(&S->hub, &q->joiners, GR_WOKEN);
}

static int task_done(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  if (!q->unfinished) {
    const char *name = luaL_tolstring(L, SELF, NULL);
    return luaL_error(L, "%s: task_done called too many times", name);
  }
  finish(gr_state_of(L), q, 1);
  return 0;
}

/* --- shutdown ------------------------------------------------------------- */

/* shutdown(q [, immediate]) */
static int shutdown(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = grb_check_queue(L);
  q->shut = true;
  if (lua_toboolean(L, 2)) {
    uint64_t n = grb_count(q);
    grb_store_clear(L, q, SELF);
    finish(S, q, n);
  }
  grb_queue_turn_away(S, &q->putters);
  if (!grb_count(q)) grb_queue_turn_away(S, &q->getters);
  return 0;
}

/* --- making and looking --------------------------------------------------- */

static uint64_t check_limit(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return UINT64_MAX;
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n > 0, arg,
                "maxsize is a number of items, 1 or more, or nil");
  return (uint64_t)n;
}

enum { RING = 128, RING_UNLIMITED = 8 };

static uint32_t ring_room(int kind, uint64_t limit) {
  if (kind == GRB_HEAP || kind == GRB_CHANNEL) return 0;
  if (limit == UINT64_MAX) return RING_UNLIMITED;
  return limit < RING ? (uint32_t)limit : RING;
}

static grb_queue *new_queue(lua_State *L, int kind, uint64_t limit) {
  uint32_t room = ring_room(kind, limit);
  grb_queue *q = lua_newuserdatauv(L, sizeof *q, GRB_RING - 1 + (int)room);
  memset(q, 0, sizeof *q);
  q->mark = &grb_queue_mark;
  q->kind = (uint8_t)kind;
  q->limit = kind == GRB_CHANNEL ? 0 : limit;
  q->ring.room = room;
  gr_list_init(&q->getters);
  gr_list_init(&q->putters);
  gr_list_init(&q->joiners);
  if (kind == GRB_HEAP) { /* the others make it when they need it */
    lua_newtable(L);
    lua_setiuservalue(L, -2, GRB_SPILL);
  }
  return q;
}

/* Items that it begins with, as many as there are; the list is at index 5. */
static void fill(lua_State *L, grb_queue *q) {
  int at = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 5);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 5, i);
    grb_store_put(L, q, at);
    q->unfinished++;
  }
}

/* new(metatable, kind, maxsize, comparator, items) */
static int new (lua_State *L) {
  static const char *const kinds[] = {"fifo", "lifo", "heap", "channel", NULL};
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  uint64_t limit = check_limit(L, 3);
  lua_settop(L, 5);
  grb_queue *q = new_queue(L, kind, limit);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, GRB_BEFORE);
  lua_pushvalue(L, 1);
  gr_set_class(L, gr_state_of(L), -2);
  if (lua_istable(L, 5)) fill(L, q);
  return 1;
}

/* copy(q) -> another with the same items */
static int copy(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  lua_settop(L, 5);
  grb_queue *p = new_queue(L, q->kind, q->limit ? q->limit : UINT64_MAX);
  int at = lua_gettop(L);
  lua_getiuservalue(L, SELF, GRB_BEFORE);
  lua_setiuservalue(L, at, GRB_BEFORE);
  lua_getmetatable(L, SELF);
  gr_set_class(L, gr_state_of(L), at);
  grb_store_list(L, q, SELF);
  lua_replace(L, 5);
  fill(L, p);
  p->shut = q->shut;
  return 1;
}

/* resize(q, maxsize, metatable): what it is seen by from now on */
static int resize(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  uint64_t limit = check_limit(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  gr_set_class(L, gr_state_of(L), SELF);
  q->limit = limit;
  grb_queue_admit(L, gr_state_of(L), q, SELF);
  return 0;
}

static int qsize(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)grb_count(grb_check_queue(L)));
  return 1;
}

static int empty(lua_State *L) {
  lua_pushboolean(L, !grb_count(grb_check_queue(L)));
  return 1;
}

static int full(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  lua_pushboolean(L, grb_count(q) >= q->limit);
  return 1;
}

static int unfinished_tasks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)grb_check_queue(L)->unfinished);
  return 1;
}

static lua_Integer length(gr_list *list) {
  lua_Integer n = 0;
  for (gr_node *i = list->next; i != list; i = i->next) {
    gr_waiter *w = gr_container(i, gr_waiter, node);
    n += w->state == GR_PARKED || grb_case_open(w);
  }
  return n;
}

/* waiting(q) -> how many getters, putters wait */
static int waiting(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  lua_pushinteger(L, length(&q->getters));
  lua_pushinteger(L, length(&q->putters));
  return 2;
}

static int is_queue(lua_State *L) {
  lua_pushboolean(L, grb_to_queue(L, 1) != NULL);
  return 1;
}

/* Give the module, on top of L, the objects that say why, and let all its
 * functions have them. */
static void add_functions(lua_State *L, gr_state *S, const luaL_Reg *funcs) {
  static const char *const names[] = {"Empty", "Full", "ShutDown"};
  int module = lua_gettop(L);
  lua_pushlightuserdata(L, S);
  for (int i = 0; i < 3; i++) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, module, names[i]);
  }
  lua_pushinteger(L, 0); /* GRB_TURN */
  luaL_setfuncs(L, funcs, GRB_UPVALUES);
}

int luaopen_greenlua_core_queue(lua_State *L) {
  static const luaL_Reg funcs[] = {{"new", new},
                                   {"get", grb_get},
                                   {"get_nowait", grb_get_nowait},
                                   {"peek", grb_peek},
                                   {"peek_nowait", grb_peek_nowait},
                                   {"put", grb_put},
                                   {"put_nowait", grb_put_nowait},
                                   {"join", join},
                                   {"task_done", task_done},
                                   {"shutdown", shutdown},
                                   {"copy", copy},
                                   {"resize", resize},
                                   {"qsize", qsize},
                                   {"empty", empty},
                                   {"full", full},
                                   {"unfinished_tasks", unfinished_tasks},
                                   {"waiting", waiting},
                                   {"is_queue", is_queue},
                                   {"choose", grb_choose},
                                   {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  grb_choice_open(L);
  luaL_newlibtable(L, funcs);
  add_functions(L, S, funcs);
  return 1;
}
