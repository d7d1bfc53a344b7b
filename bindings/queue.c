/* greenlua.core.queue: queues and channels.  lua/greenlua/queue.lua says what
 * they promise.
 *
 * Whoever makes something possible for a waiter does it for it, and wakes it:
 * a put gives its item to the first getter, a get takes the first putter's
 * item in.  So nobody who comes later is served first, and a waiter that is
 * woken has nothing more to ask for. */
#include <math.h>
#include <string.h>

#include "greenlualib.h"
#include "queue.h"

const char grb_queue_mark = 'q';

static void give_back_item(void *by, gr_waiter *w);

static const gr_wait get_wait = {.name = "get", .give_back = give_back_item};
static const gr_wait peek_wait = {.name = "peek"};
static const gr_wait put_wait = {.name = "put"};
static const gr_wait join_wait = {.name = "join"};

enum { SELF = 1, ITEM = 2, TIMEOUT = 2, PUT_TIMEOUT = 3, DEADLINE = 4 };

static grb_queue *check_queue(lua_State *L) {
  grb_queue *q = grb_to_queue(L, SELF);
  if (!q) luaL_typeerror(L, SELF, "Queue");
  return q;
}

static inline double check_deadline(lua_State *L, gr_state *S, int arg) {
  if (lua_isnoneornil(L, arg)) return INFINITY;
  return gr_check_deadline(L, S, arg);
}

static inline void check_item(lua_State *L) {
  if (!lua_isnoneornil(L, ITEM)) return;
  const char *name = luaL_tolstring(L, SELF, NULL);
  luaL_argerror(L, ITEM, lua_pushfstring(L, "nil is no item for %s", name));
}

/* nil and one of the objects that say why */
static int fail(lua_State *L, int why) {
  lua_pushnil(L);
  lua_pushvalue(L, lua_upvalueindex(why));
  return 2;
}

/* What a wait that brought nothing answers. */
static int failed(lua_State *L, int how, int timeout, int why) {
  if (how != GR_TIMEDOUT) return fail(L, GRB_SHUTDOWN);
  gr_timed_out(L, timeout);
  return fail(L, why);
}

/* --- who waits ------------------------------------------------------------ */

/* The first in a list, NULL if there is none. */
static inline gr_waiter *first(gr_list *list) {
  while (!gr_list_empty(list)) {
    gr_waiter *w = gr_container(gr_list_first(list), gr_waiter, node);
    if (w->state == GR_PARKED || grb_case_open(w)) return w;
    gr_node_remove(&w->node); /* its greenlet has left */
  }
  return NULL;
}

static gr_greenlet *choose_it(gr_waiter *w, bool shut) {
  if (w->state == GR_PARKED) return (gr_greenlet *)(void *)w;
  return grb_case_take(w, shut);
}

/* Move the `n` values on top of L to a getter and wake it. */
static void deliver(lua_State *L, gr_state *S, gr_waiter *w, int n) {
  gr_greenlet *g = choose_it(w, false);
  lua_State *to = gr_blocked_thread(S, g); /* a C function's: it has room */
  if (to != L) lua_xmove(L, to, n);
  g->w.values = (uint8_t)n;
  gr_wake(&S->hub, &g->w, GR_WOKEN);
}

/* The first who wants to have the item on top of L; those before it who only
 * want to see it, do. */
static gr_waiter *taker(lua_State *L, gr_state *S, grb_queue *q) {
  gr_waiter *w;
  while ((w = first(&q->getters)) && w->what == &peek_wait) {
    lua_pushvalue(L, -1);
    deliver(L, S, w, 1);
  }
  return w;
}

/* Push the item of a putter. */
static void push_offer(lua_State *L, gr_state *S, gr_waiter *w) {
  if (w->state != GR_PARKED) {
    grb_case_item(L, S, w);
    return;
  }
  lua_State *from = gr_blocked_thread(S, (gr_greenlet *)(void *)w);
  lua_pushvalue(from, ITEM);
  if (from != L) lua_xmove(from, L, 1);
}

static void accept(grb_queue *q, gr_state *S, gr_waiter *w) {
  q->unfinished++;
  gr_wake(&S->hub, &choose_it(w, false)->w, GR_WOKEN);
}

static int store_put(lua_State *L) {
  grb_store_put(L, lua_touserdata(L, SELF), SELF);
  return 0;
}

/* Pop a putter's item into a heap: a comparator's error is the putter's. */
static bool insert_for(lua_State *L, gr_state *S, int at, gr_waiter *w) {
  lua_pushcfunction(L, store_put);
  lua_insert(L, -2);
  lua_pushvalue(L, at);
  lua_insert(L, -2);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return true;
  gr_push_greenlet(L, S, choose_it(w, false));
  lua_insert(L, -2);
  gr_interrupt(L, S, lua_gettop(L) - 1);
  lua_pop(L, 1);
  return false;
}

/* There is room again: let putters in. */
static void admit(lua_State *L, gr_state *S, grb_queue *q, int at) {
  gr_waiter *w;
  while (grb_count(q) < q->limit && (w = first(&q->putters))) {
    push_offer(L, S, w);
    if (q->kind != GRB_HEAP)
      grb_store_put(L, q, at);
    else if (!insert_for(L, S, at, w))
      continue;
    accept(q, S, w);
  }
}

static inline bool take(lua_State *L, gr_state *S, grb_queue *q, int at) {
  gr_waiter *w;
  if (grb_count(q)) {
    grb_store_take(L, q, at);
    if (!gr_list_empty(&q->putters)) admit(L, S, q, at);
    return true;
  }
  if (q->limit || !(w = first(&q->putters))) return false;
  push_offer(L, S, w);
  accept(q, S, w);
  return true;
}

bool grb_queue_take(lua_State *L, gr_state *S, grb_queue *q, int at) {
  return take(L, S, q, at);
}

bool grb_queue_give(lua_State *L, gr_state *S, grb_queue *q, int at) {
  gr_waiter *w = taker(L, S, q);
  if (w)
    deliver(L, S, w, 1);
  else if (grb_count(q) < q->limit)
    grb_store_put(L, q, at);
  else
    return false;
  q->unfinished++;
  return true;
}

/* A getter's values: its item, and below it, from a channel, the putter, who
 * is ready but will not run before the getter: it puts once more. */
void grb_queue_give_back(lua_State *L, gr_state *S, grb_queue *q, int at,
                         lua_State *from, int values) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (values == 2) {
    gr_greenlet *putter = lua_touserdata(from, -2);
    putter->w.status = GR_CLOSED;
    q->unfinished--;
    return;
  }
  if (from != L) lua_xmove(from, L, 1);
  gr_waiter *w = taker(L, S, q);
  if (w)
    deliver(L, S, w, 1);
  else
    grb_store_return(L, q, at);
}

static void give_back_item(void *by, gr_waiter *w) {
  lua_State *L = by;
  gr_state *S = gr_state_peek(L);
  lua_State *from = gr_blocked_thread(S, (gr_greenlet *)(void *)w);
  luaL_checkstack(L, 1, NULL);
  int values = w->values;
  lua_pushvalue(from, SELF);
  lua_xmove(from, L, 1);
  grb_queue *q = lua_touserdata(L, -1);
  grb_queue_give_back(L, S, q, lua_gettop(L), from, values);
  lua_pop(L, 1);
}

/* --- get ------------------------------------------------------------------ */

static int get_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, get_k);
  return how == GR_WOKEN ? 1 : failed(L, how, TIMEOUT, GRB_EMPTY);
}

static int wait_for_item(lua_State *L, gr_state *S, grb_queue *q, double at,
                         const gr_wait *what) {
  if (q->shut) return fail(L, GRB_SHUTDOWN);
  if (at == 0) return fail(L, GRB_EMPTY);
  lua_settop(L, TIMEOUT);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&q->getters, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, what, false, 0, get_k);
}

/* get(q [, timeout]) -> item; or nil, Empty or ShutDown */
static int l_get(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = check_queue(L);
  double at = check_deadline(L, S, TIMEOUT);
  if (take(L, S, q, SELF)) return 1;
  return wait_for_item(L, S, q, at, &get_wait);
}

/* peek(q [, timeout]) */
static int peek(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = check_queue(L);
  double at = check_deadline(L, S, TIMEOUT);
  gr_waiter *w;
  if (grb_count(q)) {
    grb_store_peek(L, q, SELF);
    return 1;
  }
  if (!q->limit && (w = first(&q->putters))) {
    push_offer(L, S, w);
    return 1;
  }
  return wait_for_item(L, S, q, at, &peek_wait);
}

static int get_nowait(lua_State *L) {
  lua_settop(L, SELF);
  lua_pushinteger(L, 0);
  return l_get(L);
}

static int peek_nowait(lua_State *L) {
  lua_settop(L, SELF);
  lua_pushinteger(L, 0);
  return peek(L);
}

/* --- put ------------------------------------------------------------------ */

static int put_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, put_k);
  if (how != GR_WOKEN) return failed(L, how, PUT_TIMEOUT, GRB_FULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int wait_for_room(lua_State *L, gr_state *S, grb_queue *q, double at) {
  if (at == 0) return fail(L, GRB_FULL);
  lua_settop(L, PUT_TIMEOUT);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&q->putters, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &put_wait, false, 0, put_k);
}

static int rendezvous(lua_State *L, gr_state *S, grb_queue *q, double at,
                      bool again);

/* The getter has run, or it was closed before it could. */
static int given_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, given_k) != GR_WOKEN)
    return rendezvous(L, S, check_queue(L), lua_tonumber(L, DEADLINE), true);
  lua_pushboolean(L, 1);
  return 1;
}

/* Let the getter run before the putter goes on. */
static int give_and_wait(lua_State *L, gr_state *S, grb_queue *q,
                         gr_waiter *getter, double at) {
  lua_settop(L, PUT_TIMEOUT);
  lua_pushnumber(L, at);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_push_greenlet(L, S, me);
  lua_pushvalue(L, ITEM);
  deliver(L, S, getter, 2);
  q->unfinished++;
  return gr_give_way(L, S, 0, given_k);
}

static int rendezvous(lua_State *L, gr_state *S, grb_queue *q, double at,
                      bool again) {
  if (q->shut) return fail(L, GRB_SHUTDOWN);
  lua_settop(L, PUT_TIMEOUT);
  lua_pushvalue(L, ITEM);
  gr_waiter *w = taker(L, S, q);
  if (w && at > 0) return give_and_wait(L, S, q, w, at);
  if (w) {
    deliver(L, S, w, 1);
    q->unfinished++;
    lua_pushboolean(L, 1);
    return 1;
  }
  if (!again) return wait_for_room(L, S, q, at);
  lua_settop(L, PUT_TIMEOUT);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(gr_list_first(&q->putters), &me->w.node); /* before it */
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &put_wait, false, 0, put_k);
}

/* put(q, item [, timeout]) -> true; or nil, Full or ShutDown */
static int put(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = check_queue(L);
  check_item(L);
  double at = check_deadline(L, S, PUT_TIMEOUT);
  if (!q->limit) return rendezvous(L, S, q, at, false);
  if (q->shut) return fail(L, GRB_SHUTDOWN);
  if (gr_list_empty(&q->getters) && grb_count(q) < q->limit) {
    lua_pushvalue(L, ITEM);
    grb_store_put(L, q, SELF);
    q->unfinished++;
  } else {
    lua_settop(L, PUT_TIMEOUT);
    lua_pushvalue(L, ITEM);
    if (!grb_queue_give(L, S, q, SELF)) return wait_for_room(L, S, q, at);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int put_nowait(lua_State *L) {
  lua_settop(L, ITEM);
  lua_pushinteger(L, 0);
  return put(L);
}

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
  grb_queue *q = check_queue(L);
  double at = check_deadline(L, S, TIMEOUT);
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
  grb_queue *q = check_queue(L);
  if (!q->unfinished) {
    const char *name = luaL_tolstring(L, SELF, NULL);
    return luaL_error(L, "%s: task_done called too many times", name);
  }
  finish(gr_state_of(L), q, 1);
  return 0;
}

/* --- shutdown ------------------------------------------------------------- */

static void turn_away(gr_state *S, gr_list *list) {
  gr_waiter *w;
  while ((w = first(list))) {
    bool chooses = w->state != GR_PARKED;
    gr_wake(&S->hub, &choose_it(w, true)->w, chooses ? GR_WOKEN : GR_CLOSED);
  }
}

/* shutdown(q [, immediate]) */
static int shutdown(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = check_queue(L);
  q->shut = true;
  if (lua_toboolean(L, 2)) {
    uint64_t n = grb_count(q);
    grb_store_clear(L, q, SELF);
    finish(S, q, n);
  }
  turn_away(S, &q->putters);
  if (!grb_count(q)) turn_away(S, &q->getters);
  return 0;
}

/* --- making and looking --------------------------------------------------- */

static uint64_t check_limit(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return UINT64_MAX;
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n > 0, arg, "maxsize is a number of items, 1 or more, or nil");
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
static int new(lua_State *L) {
  static const char *const kinds[] = {"fifo", "lifo", "heap", "channel", NULL};
  int kind = luaL_checkoption(L, 2, NULL, kinds);
  uint64_t limit = check_limit(L, 3);
  lua_settop(L, 5);
  grb_queue *q = new_queue(L, kind, limit);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, GRB_BEFORE);
  lua_pushvalue(L, 1);
  lua_setmetatable(L, -2);
  if (lua_istable(L, 5)) fill(L, q);
  return 1;
}

/* copy(q) -> another with the same items */
static int copy(lua_State *L) {
  grb_queue *q = check_queue(L);
  lua_settop(L, 5);
  grb_queue *p = new_queue(L, q->kind, q->limit ? q->limit : UINT64_MAX);
  int at = lua_gettop(L);
  lua_getiuservalue(L, SELF, GRB_BEFORE);
  lua_setiuservalue(L, at, GRB_BEFORE);
  lua_getmetatable(L, SELF);
  lua_setmetatable(L, at);
  grb_store_list(L, q, SELF);
  lua_replace(L, 5);
  fill(L, p);
  p->shut = q->shut;
  return 1;
}

/* resize(q, maxsize, metatable): what it is seen by from now on */
static int resize(lua_State *L) {
  grb_queue *q = check_queue(L);
  uint64_t limit = check_limit(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  lua_setmetatable(L, SELF);
  q->limit = limit;
  admit(L, gr_state_of(L), q, SELF);
  return 0;
}

static int qsize(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)grb_count(check_queue(L)));
  return 1;
}

static int empty(lua_State *L) {
  lua_pushboolean(L, !grb_count(check_queue(L)));
  return 1;
}

static int full(lua_State *L) {
  grb_queue *q = check_queue(L);
  lua_pushboolean(L, grb_count(q) >= q->limit);
  return 1;
}

static int unfinished_tasks(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_queue(L)->unfinished);
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
  grb_queue *q = check_queue(L);
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
                                   {"get", l_get},
                                   {"get_nowait", get_nowait},
                                   {"peek", peek},
                                   {"peek_nowait", peek_nowait},
                                   {"put", put},
                                   {"put_nowait", put_nowait},
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
