/* Slices and budgets of time. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "alloc.h"
#include "greenlet.h"
#include "limit.h"

enum {
  TICKS = 2, /* in a slice: it is noticed between one and one and a half */
  HUB_SLICES = 16, /* for what the hub itself calls; then it is an error */
  LATER = 100,     /* instructions until we ask again, */
  OFTEN = 1000000, /* and how many times */
  NO_RUN = 1       /* gr_hub.runs is never that */
};
static const int64_t USUAL_SLICE = 10 * 1000 * 1000;
static const int64_t MIN_TICK = 200 * 1000, MAX_TICK = 100 * 1000 * 1000;

static int64_t cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- accounts ------------------------------------------------------------- */

gr_account *gr_account_of(gr_state *S, const gr_greenlet *g) {
  if (!S->limits) return NULL;
  return g->account ? g->account : &S->limits->all;
}

static bool over(const gr_account *a, int64_t more) {
  for (; a; a = a->parent)
    if (a->budget && a->used + more >= a->budget) return true;
  return false;
}

/* With what has not been charged yet. */
static bool spent(const gr_limits *l, const gr_account *a) {
  return over(a, a == l->running ? cpu_now() - l->since : 0);
}

static int64_t slice_of(const gr_account *a) {
  while (a && !a->slice) a = a->parent;
  return a ? a->slice : 0;
}

static void charge(gr_limits *l, int64_t now) {
  for (gr_account *a = l->running; a; a = a->parent) a->used += now - l->since;
}

/* --- the hook ------------------------------------------------------------- */

static void on_overrun(lua_State *L, lua_Debug *ar);

/* Ours comes back for it: another hook goes first. */
static void set_hook(lua_State *L, int count) {
  lua_Hook before = lua_gethook(L);
  if (!before || before == on_overrun)
    lua_sethook(L, on_overrun, LUA_MASKCOUNT, count);
}

/* greenlua's own functions in Lua count on nobody running between two parks.
 * Whatever they call may park, and may be stopped; and they themselves, if they
 * come to no end. */
static bool is_spared(lua_State *L, gr_state *S, lua_Debug *ar) {
  gr_limits *l = S->limits;
  lua_getinfo(L, "S", ar);
  if (strncmp(ar->source, "@greenlua", 9) ||
      (ar->source[9] != '/' && ar->source[9] != '.'))
    return false;
  if (l->spared_run != S->hub.runs) l->spared = 0;
  l->spared_run = S->hub.runs;
  return l->spared++ < OFTEN;
}

static gr_account *current_account(gr_state *S) {
  gr_waiter *w = S->hub.current;
  if (!w || w == &S->main->w) return NULL;
  return gr_account_of(S, (gr_greenlet *)(void *)w);
}

const gr_wait gr_wait_slice = {.name = "time slice"};

/* Alone of all errors this one calls no handler: it would be in the hook. */
static int raise_unhandled(lua_State *L) {
  lua_pushliteral(L, "not enough memory");
  return lua_error(L);
}

/* Whoever catches the error meets it again at the next instruction. */
static int end_it(lua_State *L, gr_state *S) {
  lua_sethook(L, on_overrun, LUA_MASKCOUNT, 1);
  if (S->hub.current && !S->closing && lua_isyieldable(L))
    return lua_yield(L, 0);
  return raise_unhandled(L);
}

/* Of the hub's own, and of all others that it calls in this run. */
static int end_talk(lua_State *L, gr_state *S) {
  gr_limits *l = S->limits;
  if (l->told_run != S->hub.runs)
    gr_complain(S, NULL, "a function that the hub calls takes too long");
  l->told_run = S->hub.runs;
  lua_sethook(L, on_overrun, LUA_MASKCOUNT, 1);
  return raise_unhandled(L);
}

/* What stands on a C stack of its own keeps that. */
static int step_aside(lua_State *L, gr_state *S) {
  if (!S->hub.current) return end_talk(L, S);
  if (gr_hub_reserve(&S->hub)) return raise_unhandled(L);
  S->limits->preemptions++;
  gr_yield_in_place(L, S, &gr_wait_slice);
  return 0;
}

static int give_way(lua_State *L, gr_state *S) {
  gr_waiter *w = S->hub.current;
  if (S->closing) return end_it(L, S);
  bool yields = w && L == ((gr_greenlet *)(void *)w)->L && lua_isyieldable(L);
  if (!yields) return step_aside(L, S);
  S->limits->preemptions++;
  gr_line_up(&S->hub, &gr_wait_slice);
  set_hook(L, 1); /* so that it is known (gr_limit_hooked) */
  return lua_yield(L, 0);
}

static void on_overrun(lua_State *L, lua_Debug *ar) {
  gr_state *S = gr_state_peek(L);
  gr_limits *l = S ? S->limits : NULL;
  gr_account *a = l ? current_account(S) : NULL;
  if ((a || (l && !S->hub.current)) && is_spared(L, S, ar)) {
    lua_sethook(L, on_overrun, LUA_MASKCOUNT, LATER);
    return;
  }
  if (a && spent(l, a)) {
    l->exhausted = S->hub.runs;
    end_it(L, S);
    return;
  }
  lua_sethook(L, NULL, 0, 0);
  if (l && l->overrun == S->hub.runs) give_way(L, S);
}

void gr_limit_check(lua_State *L, gr_state *S) {
  gr_limits *l = S->limits;
  if (!l || lua_gc(L, LUA_GCCOUNT) < 0) return;
  gr_account *a = current_account(S);
  bool out = a && spent(l, a);
  if (out) l->exhausted = S->hub.runs;
  if (out || (S->closing && l->overrun == S->hub.runs)) {
    lua_sethook(L, on_overrun, LUA_MASKCOUNT, 1);
    raise_unhandled(L);
  }
  if (l->overrun == S->hub.runs) step_aside(L, S);
}

/* --- the signal ----------------------------------------------------------- */

/* What the hub calls is ended, not put off; so it must have had the time, which
 * may have passed while others had the processor. */
static bool is_slow(const gr_hub *hub, gr_limits *l) {
  int64_t now = cpu_now();
  if (l->talk_run != hub->runs) l->talk_since = now;
  l->talk_run = hub->runs;
  int64_t slice = l->all.slice ? l->all.slice : USUAL_SLICE;
  return now - l->talk_since >= slice * HUB_SLICES;
}

/* In its handler.  A thread that is wrongly taken for the running one finds out
 * in its hook. */
static void overrun(gr_hub *hub, int64_t ns) {
  gr_state *S = (gr_state *)(void *)hub;
  gr_limits *l = S->limits;
  gr_waiter *w = hub->current;
  lua_State *L = hub->stack->inner;
  if (w == &S->main->w || !l) return;
  int64_t slice = 1;
  if (w) {
    gr_account *a = gr_account_of(S, (gr_greenlet *)(void *)w);
    if (!spent(l, a)) slice = slice_of(a);
    if (!L) L = ((gr_greenlet *)(void *)w)->L;
  } else {
    if (!is_slow(hub, l)) return;
    if (!L) L = S->talk;
  }
  if (!L || !slice || ns < slice) return;
  l->overrun = hub->runs;
  set_hook(L, 1);
}

/* --- switches ------------------------------------------------------------- */

/* One that is out of time meets it when it runs. */
static void switched(gr_hub *hub, gr_waiter *w) {
  gr_state *S = (gr_state *)(void *)hub;
  gr_limits *l = S->limits;
  bool main = !w || w == hub->main;
  gr_greenlet *g = (gr_greenlet *)(void *)w;
  gr_account *a = main ? NULL : gr_account_of(S, g);
  if (a == &l->all && !a->budget) a = NULL;
  if (!a && !l->running) return;
  int64_t now = cpu_now();
  charge(l, now);
  l->running = a;
  l->since = now;
  if (!a || !g->L || !over(a, 0)) return;
  lua_State *L = w->stack && w->stack->inner ? w->stack->inner : g->L;
  set_hook(L, 1);
}

void gr_limit_begun(gr_state *S, gr_greenlet *g) {
  gr_account *a = gr_account_of(S, g);
  if (over(a, 0)) set_hook(g->L, 1);
}

bool gr_limit_spent(gr_state *S) {
  gr_account *a = current_account(S);
  return a && (over(a, 0) || S->limits->exhausted == S->hub.runs);
}

bool gr_limit_hooked(lua_State *L) {
  return lua_gethook(L) == on_overrun;
}

void gr_limit_stop(lua_State *L) {
  set_hook(L, 1);
}

void gr_limit_explain(gr_state *S, lua_State *co) {
  lua_rawgetp(S->L, GR_T_ANCHOR, S->limits);
  lua_xmove(S->L, co, 1);
}

/* --- life ----------------------------------------------------------------- */

static int64_t tick_for(int64_t slice, int64_t budget) {
  int64_t tick = slice ? slice / TICKS : MAX_TICK;
  if (budget && budget / 4 < tick) tick = budget / 4;
  return tick < MIN_TICK ? MIN_TICK : tick > MAX_TICK ? MAX_TICK : tick;
}

int gr_limits_open(lua_State *L, gr_state *S, int signal) {
  gr_limits *l = S->limits;
  if (l) return 0;
  gr_track_coroutines(L, S);
  int flag = gr_hook_flag(L);
  if (flag < 0) return errno = ENOTSUP, -1;
  l = gr_calloc(sizeof *l);
  if (!l) return errno = ENOMEM, -1;
  if (gr_watchdog_start(&l->dog, &S->hub, signal, MAX_TICK, overrun)) {
    gr_free(l);
    return -1;
  }
  l->hook_flag = flag;
  l->overrun = NO_RUN;
  S->limits = l;
  gr_push_table(L, S, GR_T_ANCHOR);
  lua_pushliteral(L, "the budget of CPU time is used up");
  lua_rawsetp(L, -2, l);
  lua_pop(L, 1);
  return 0;
}

/* For what may run while all are closed. */
void gr_limits_close(gr_state *S) {
  if (!S->limits) return;
  S->hub.switched = NULL;
  gr_watchdog_stop(&S->limits->dog);
  gr_free(S->limits);
  S->limits = NULL;
}

static void expect(gr_state *S, int64_t slice, int64_t budget) {
  gr_watchdog_hasten(&S->limits->dog, tick_for(slice, budget));
  if (budget) S->hub.switched = switched;
}

void gr_limits_set(gr_state *S, int64_t slice, int64_t budget) {
  S->limits->all.slice = slice;
  S->limits->all.budget = budget;
  expect(S, slice, budget);
}

static void keep(lua_State *L, gr_state *S) {
  gr_push_table(L, S, GR_T_ACCOUNT);
  lua_pushvalue(L, -3);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

bool gr_limit_push_account(lua_State *L, gr_state *S) {
  gr_account *a = current_account(S);
  if (!a || a == &S->limits->all) return false;
  gr_push_table(L, S, GR_T_ACCOUNT);
  gr_push_greenlet(L, S, (gr_greenlet *)(void *)S->hub.current);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return true;
}

void gr_limit_charge(lua_State *L, gr_state *S) {
  ((gr_greenlet *)lua_touserdata(L, -2))->account = lua_touserdata(L, -1);
  keep(L, S);
}

/* The parent is its user value, so that it lives as long. */
void gr_limit_greenlet(lua_State *L, gr_state *S, int64_t slice,
                       int64_t budget) {
  gr_greenlet *g = lua_touserdata(L, -1);
  gr_account *by = current_account(S);
  gr_account *a = lua_newuserdatauv(L, sizeof *a, 1);
  *a = (gr_account){by ? by : &S->limits->all, slice, budget, 0};
  if (gr_limit_push_account(L, S)) lua_setiuservalue(L, -2, 1);
  keep(L, S);
  g->account = a;
  S->limits->several = true;
  expect(S, slice, budget);
}

void gr_limit_inherit(lua_State *L, gr_state *S) {
  gr_greenlet *g = lua_touserdata(L, -1);
  if (!g->account && gr_limit_push_account(L, S)) gr_limit_charge(L, S);
}
