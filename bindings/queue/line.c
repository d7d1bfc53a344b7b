/* Coming to a queue, and going.
 *
 * Whoever makes something possible for a waiter does it for it, and wakes it:
 * a put gives its item to the first getter, a get takes the first putter's
 * item in.  So nobody who comes later is served first, and a waiter that is
 * woken has nothing more to ask for. */
#include <math.h>

#include "queue.h"

static void give_back_item(void *by, gr_waiter *w);

static const gr_wait get_wait = {.name = "get", .give_back = give_back_item};
static const gr_wait peek_wait = {.name = "peek"};
static const gr_wait put_wait = {.name = "put"};

enum { SELF = 1, ITEM = 2, TIMEOUT = 2, PUT_TIMEOUT = 3, DEADLINE = 4 };

static inline double check_deadline(lua_State *L, gr_state *S, int arg) {
  if (lua_isnoneornil(L, arg)) return INFINITY;
  return gr_check_deadline(L, S, arg);
}

static inline void check_item(lua_State *L) {
  if (lua_type(L, ITEM) > LUA_TNIL) return;
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

void grb_queue_admit(lua_State *L, gr_state *S, grb_queue *q, int at) {
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

bool grb_queue_take(lua_State *L, gr_state *S, grb_queue *q, int at) {
  gr_waiter *w;
  if (grb_count(q)) {
    grb_store_take(L, q, at);
    grb_queue_admit(L, S, q, at);
    return true;
  }
  if (q->limit || !(w = first(&q->putters))) return false;
  push_offer(L, S, w);
  accept(q, S, w);
  return true;
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

void grb_queue_turn_away(gr_state *S, gr_list *list) {
  gr_waiter *w;
  while ((w = first(list))) {
    bool chooses = w->state != GR_PARKED;
    gr_wake(&S->hub, &choose_it(w, true)->w, chooses ? GR_WOKEN : GR_CLOSED);
  }
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
int grb_get(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  if (q->ring.n && q->kind == GRB_FIFO && gr_list_empty(&q->putters) &&
      lua_gettop(L) == SELF) { /* the usual case, at once */
    grb_take_from_ring(L, q, SELF, 0);
    grb_step(&q->ring);
    return 1;
  }
  gr_state *S = gr_state_of(L);
  double at = check_deadline(L, S, TIMEOUT);
  if (grb_queue_take(L, S, q, SELF)) return 1;
  return wait_for_item(L, S, q, at, &get_wait);
}

/* peek(q [, timeout]) */
int grb_peek(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_queue *q = grb_check_queue(L);
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

int grb_get_nowait(lua_State *L) {
  lua_settop(L, SELF);
  lua_pushinteger(L, 0);
  return grb_get(L);
}

int grb_peek_nowait(lua_State *L) {
  lua_settop(L, SELF);
  lua_pushinteger(L, 0);
  return grb_peek(L);
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
    return rendezvous(L, S, grb_check_queue(L), lua_tonumber(L, DEADLINE),
                      true);
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

static int put_in_line(lua_State *L, grb_queue *q) {
  gr_state *S = gr_state_of(L);
  check_item(L);
  double at = check_deadline(L, S, PUT_TIMEOUT);
  if (!q->limit) return rendezvous(L, S, q, at, false);
  if (q->shut) return fail(L, GRB_SHUTDOWN);
  lua_settop(L, PUT_TIMEOUT);
  lua_pushvalue(L, ITEM);
  if (!grb_queue_give(L, S, q, SELF)) return wait_for_room(L, S, q, at);
  lua_pushboolean(L, 1);
  return 1;
}

/* put(q, item [, timeout]) -> true; or nil, Full or ShutDown */
int grb_put(lua_State *L) {
  grb_queue *q = grb_check_queue(L);
  if (lua_gettop(L) != ITEM || lua_type(L, ITEM) <= LUA_TNIL ||
      q->ring.n == q->ring.room || grb_count(q) >= q->limit || q->spill.n ||
      q->shut || !gr_list_empty(&q->getters))
    return put_in_line(L, q);
  lua_setiuservalue(L, SELF, grb_ring_slot(q, q->ring.n++));
  q->unfinished++;
  lua_pushboolean(L, 1);
  return 1;
}

int grb_put_nowait(lua_State *L) {
  lua_settop(L, ITEM);
  lua_pushinteger(L, 0);
  return grb_put(L);
}
