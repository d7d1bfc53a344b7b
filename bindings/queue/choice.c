/* Waiting on several queues at once.
 *
 * A choice lies on its greenlet's stack.  In the list of each queue stands one
 * of its cases, in the guise of a waiter that is not parked.  Whoever serves
 * one of them takes all out and wakes the greenlet; if something else has
 * ended the wait, the cases that are left in lists are passed over there. */
#include <string.h>

#include "queue.h"

static const char *const class_name = "greenlua.choice";

static void give_back_chosen(void *by, gr_waiter *w);

static const gr_wait choose_wait = {.name = "select_ops",
                                    .give_back = give_back_chosen};

typedef struct grb_case {
  gr_waiter stand_in; /* first; never parked */
  struct choice *of;
  grb_queue *queue; /* alive as a user value of the choice */
  bool puts;        /* its item is a user value, too */
} grb_case;

typedef struct choice {
  gr_greenlet *who; /* alive as a user value; NULL: it does not wait */
  uint32_t turn;    /* of its wait */
  int n, chosen;    /* cases; the index of one */
  bool shut;        /* its queue has been shut down */
  grb_case cases[];
} choice;

enum { CASES = 1, TIMEOUT, CHOICE }; /* on the stack */

/* user values of a choice */
enum { WHO = 1, FIRST_CASE };
static int queue_value(int i) {
  return FIRST_CASE + 2 * i;
}
static int item_value(int i) {
  return FIRST_CASE + 2 * i + 1;
}

/* --- for the queues ------------------------------------------------------- */

bool grb_case_open(const gr_waiter *stand_in) {
  const choice *c = ((const grb_case *)(const void *)stand_in)->of;
  return c->who && c->who->w.state == GR_PARKED && c->who->w.turn == c->turn;
}

static void leave(choice *c) {
  c->who = NULL;
  for (int i = 0; i < c->n; i++) gr_node_remove(&c->cases[i].stand_in.node);
}

gr_greenlet *grb_case_take(gr_waiter *stand_in, bool shut) {
  grb_case *one = (grb_case *)(void *)stand_in;
  choice *c = one->of;
  gr_greenlet *g = c->who;
  c->chosen = (int)(one - c->cases);
  c->shut = shut;
  leave(c);
  return g;
}

void grb_case_item(lua_State *L, gr_state *S, gr_waiter *stand_in) {
  grb_case *one = (grb_case *)(void *)stand_in;
  choice *c = one->of;
  lua_State *from = gr_blocked_thread(S, c->who);
  lua_getiuservalue(from, CHOICE, item_value((int)(one - c->cases)));
  if (from != L) lua_xmove(from, L, 1);
}

static void give_back_chosen(void *by, gr_waiter *w) {
  lua_State *L = by;
  gr_state *S = gr_state_peek(L);
  lua_State *from = gr_blocked_thread(S, (gr_greenlet *)(void *)w);
  choice *c = lua_touserdata(from, CHOICE);
  grb_case *one = &c->cases[c->chosen];
  if (one->puts || c->shut) return;
  luaL_checkstack(L, 1, NULL);
  int values = w->values;
  lua_getiuservalue(from, CHOICE, queue_value(c->chosen));
  lua_xmove(from, L, 1);
  grb_queue_give_back(L, S, one->queue, lua_gettop(L), from, values);
  lua_pop(L, 1);
}

/* --- making --------------------------------------------------------------- */

static int misuse(lua_State *L, int i) {
  const char *text = lua_pushfstring(
      L, "at %d: a queue, or {queue, item to put} expected", i + 1);
  return luaL_argerror(L, CASES, text);
}

/* Case i is on top of the stack, which is popped. */
static void read_case(lua_State *L, choice *c, int i) {
  grb_case *one = &c->cases[i];
  gr_waiter_init(&one->stand_in);
  one->stand_in.what = &choose_wait;
  one->of = c;
  one->queue = grb_to_queue(L, -1);
  if (!one->queue) {
    if (!lua_istable(L, -1)) misuse(L, i);
    if (lua_rawgeti(L, -1, 2) == LUA_TNIL) misuse(L, i);
    lua_setiuservalue(L, CHOICE, item_value(i));
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
    one->queue = grb_to_queue(L, -1);
    if (!one->queue) misuse(L, i);
    one->puts = true;
  }
  lua_setiuservalue(L, CHOICE, queue_value(i));
}

static choice *new_choice(lua_State *L) {
  luaL_checktype(L, CASES, LUA_TTABLE);
  lua_Unsigned n = lua_rawlen(L, CASES);
  luaL_argcheck(L, n >= 1, CASES, "no queue to choose from");
  luaL_argcheck(L, n <= 30000, CASES, "too many cases");
  size_t size = sizeof(choice) + n * sizeof(grb_case);
  choice *c = lua_newuserdatauv(L, size, item_value((int)n - 1));
  memset(c, 0, size);
  for (int i = 0; i < (int)n; i++) {
    lua_rawgeti(L, CASES, i + 1);
    read_case(L, c, i);
  }
  c->n = (int)n;
  luaL_setmetatable(L, class_name);
  return c;
}

/* --- choosing ------------------------------------------------------------- */

/* The number of the case, and what came of it: on top of the stack if it is an
 * item. */
static int answer(lua_State *L, const choice *c) {
  lua_pushinteger(L, c->chosen + 1);
  if (c->shut) {
    lua_pushnil(L);
    lua_pushvalue(L, lua_upvalueindex(GRB_SHUTDOWN));
    return 3;
  }
  if (c->cases[c->chosen].puts)
    lua_pushboolean(L, 1);
  else
    lua_pushvalue(L, -2);
  return 2;
}

/* Is this case ready?  Then it is done. */
static bool attempt(lua_State *L, gr_state *S, choice *c, int i) {
  grb_case *one = &c->cases[i];
  int top = lua_gettop(L);
  c->chosen = i;
  lua_getiuservalue(L, CHOICE, queue_value(i));
  if (one->puts) {
    c->shut = one->queue->shut;
    lua_getiuservalue(L, CHOICE, item_value(i));
    if (c->shut || grb_queue_give(L, S, one->queue, top + 1)) return true;
  } else {
    if (grb_queue_take(L, S, one->queue, top + 1)) return true;
    c->shut = one->queue->shut;
    if (c->shut) return true;
  }
  lua_settop(L, top);
  return false;
}

/* Where to begin, so that no case that is ready is passed over for long: a
 * generator's next number, the same in each run. */
static int begin(lua_State *L, int n) {
  uint32_t x = (uint32_t)lua_tointeger(L, lua_upvalueindex(GRB_TURN));
  x = x * 1664525u + 1013904223u;
  lua_pushinteger(L, x);
  lua_replace(L, lua_upvalueindex(GRB_TURN));
  return (int)(((uint64_t)x * (uint32_t)n) >> 32);
}

static int choose_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  choice *c = lua_touserdata(L, CHOICE);
  (void)status;
  if (S->resumed == L) leave(c); /* before a kill or a Timeout is raised */
  if (gr_woken(L, S, ctx, choose_k) != GR_TIMEDOUT) return answer(L, c);
  gr_timed_out(L, TIMEOUT);
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  return 2;
}

int grb_choose(lua_State *L) {
  gr_state *S = gr_state_of(L);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  choice *c = new_choice(L);
  for (int k = 0, i = begin(L, c->n); k < c->n; k++, i = (i + 1) % c->n)
    if (attempt(L, S, c, i)) return answer(L, c);
  if (at == 0) {
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
  }
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_push_greenlet(L, S, me);
  lua_setiuservalue(L, CHOICE, WHO);
  c->who = me;
  c->turn = me->w.turn + 1; /* parking counts */
  for (int i = 0; i < c->n; i++) {
    grb_queue *q = c->cases[i].queue;
    gr_list_append(c->cases[i].puts ? &q->putters : &q->getters,
                   &c->cases[i].stand_in.node);
  }
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &choose_wait, false, 0, choose_k);
}

static int collect(lua_State *L) {
  leave(lua_touserdata(L, 1));
  return 0;
}

void grb_choice_open(lua_State *L) {
  luaL_newmetatable(L, class_name);
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
