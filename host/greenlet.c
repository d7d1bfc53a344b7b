#include "greenlet.h"

#include <assert.h>

#include "alloc.h"
#include "limit/limit.h"

enum { MAX_ARGS = 250 }; /* to spawn; user values are no stack */

void gr_greenlet_init(gr_greenlet *g) {
  gr_waiter_init(&g->w);
  gr_list_init(&g->joiners);
  g->L = NULL;
  g->slot = g->ended = 0;
  g->held = g->doomed = false;
  g->account = NULL;
}

/* Its function and arguments are its user values until it starts.  A thousand
 * that wait for their start are small, and their coroutines, made one by one
 * when they run, stay in the cache. */
gr_greenlet *gr_greenlet_new(lua_State *L, gr_state *S, int nargs) {
  if (nargs >= MAX_ARGS) luaL_error(L, "too many arguments (%d)", nargs);
  gr_greenlet *g = lua_newuserdatauv(L, sizeof *g, nargs + 1);
  gr_greenlet_init(g);
  g->ended = (uint32_t)nargs;
  lua_insert(L, -nargs - 2);
  for (int i = nargs + 1; i > 0; i--) lua_setiuservalue(L, -i - 1, i);
  gr_push_policy(L, S, GR_P_GREENLET);
  lua_setmetatable(L, -2);
  return g;
}

/* Give it a coroutine with its function and arguments.  false: no memory; the
 * error is on S->talk. */
static bool begin(gr_state *S, gr_greenlet *g) {
  lua_State *T = S->L;
  int nargs = (int)g->ended;
  lua_State *co = gr_find_coroutine(S);
  if (!co) return false;
  if (nargs >= LUA_MINSTACK && !lua_checkstack(co, nargs + 1)) {
    lua_pushliteral(S->talk, "not enough memory");
    return false;
  }
  S->warm_of = g;
  g->L = co;
  g->ended = 0;
  lua_rawgeti(T, GR_T_LIVE, g->slot);
  for (int i = 1; i <= nargs + 1; i++) {
    lua_getiuservalue(T, -1, i);
    lua_xmove(T, co, 1);
    if (i == 1) continue;
    lua_pushnil(T);
    lua_setiuservalue(T, -2, i);
  }
  lua_pop(T, 1);
  return true;
}

/* --- the table of the living -------------------------------------------- */

/* Give `g`, on top of L, a slot: it lives until it has ended. */
static void enlist(lua_State *L, gr_state *S, gr_greenlet *g) {
  if (g->slot) return;
  gr_check_open(L, S);
  if (S->limits && S->limits->several) gr_limit_inherit(L, S);
  if (S->nslots == S->room) { /* room for all to be freed without failing */
    uint32_t room = S->room ? S->room * 2 : 64;
    uint32_t *slots = gr_realloc(S->slots, room * sizeof *slots);
    if (!slots) luaL_error(L, "not enough memory");
    S->slots = slots;
    S->room = room;
  }
  bool reused = S->nfree;
  uint32_t slot = reused ? S->slots[S->nfree - 1] : S->nslots + 1;
  gr_push_table(L, S, GR_T_LIVE);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, slot); /* may raise: nothing is changed yet */
  lua_pop(L, 1);
  if (S->scoped) gr_inherit(L, S, slot);
  if (reused)
    S->nfree--;
  else
    S->nslots++;
  g->slot = slot;
  S->living++;
}

static void delist(gr_state *S, gr_greenlet *g) {
  if (!g->slot) return;
  lua_pushnil(S->L);
  lua_rawseti(S->L, GR_T_LIVE, g->slot);
  if (S->scoped) gr_forget(S, g->slot);
  S->slots[S->nfree++] = g->slot;
  S->living--;
}

/* Main may wait for the end of all. */
static void tell_drained(gr_state *S) {
  gr_waiter *main = &S->main->w;
  if (!S->living && main->state == GR_PARKED && main->what->calm)
    gr_wake(&S->hub, main, GR_WOKEN);
}

void gr_push_greenlet(lua_State *L, gr_state *S, gr_greenlet *g) {
  lua_rawgeti(S->L, GR_T_LIVE, g->slot);
  lua_xmove(S->L, L, 1);
}

void gr_greenlet_start(lua_State *L, gr_state *S, gr_greenlet *g) {
  enlist(L, S, g);
  gr_start(&S->hub, &g->w);
}

void gr_greenlet_start_at(lua_State *L, gr_state *S, gr_greenlet *g,
                          double at) {
  enlist(L, S, g);
  if (gr_start_at(&S->hub, &g->w, at)) {
    delist(S, g);
    g->slot = 0;
    luaL_error(L, "not enough memory");
  }
}

/* --- the end ------------------------------------------------------------ */

const gr_wait gr_wait_get = {.name = "get"};

/* Is the value on top of `L` a GreenletExit?  A thread that has failed has no
 * room for more, so it is looked at on S->L. */
static bool is_exit(gr_state *S, lua_State *L) {
  lua_State *T = S->L;
  lua_xmove(L, T, 1);
  lua_rawgeti(T, GR_T_POLICY, GR_P_EXIT);
  bool is = lua_rawequal(T, -1, -2);
  if (!is && lua_getmetatable(T, -2)) {
    is = lua_rawequal(T, -1, -2);
    lua_pop(T, 1);
  }
  lua_pop(T, 1);
  lua_xmove(T, L, 1);
  return is;
}

/* (greenlet, state): keep the traceback of its coroutine, which stands where
 * it failed. */
static int keep_traceback(lua_State *L) {
  gr_greenlet *g = lua_touserdata(L, 1);
  gr_state *S = lua_touserdata(L, 2);
  gr_push_extra(L, S, 1, true);
  luaL_traceback(L, g->L, NULL, 0);
  lua_setfield(L, -2, "traceback");
  return 0;
}

/* Is somebody in `get` for it?  Links are the Lua side's to judge. */
static bool awaited(const gr_greenlet *g) {
  for (gr_node *n = g->joiners.next; n != &g->joiners; n = n->next)
    if (gr_container(n, gr_waiter, node)->what == &gr_wait_get) return true;
  return false;
}

/* (its greenlet on top of S->L) One value or error becomes its user value;
 * several stay on `from`. */
static void keep_outcome(gr_state *S, gr_greenlet *g, lua_State *from,
                         int status) {
  lua_State *T = S->L;
  int n = status == LUA_OK ? lua_gettop(from) : 1;
  if (n > 1) {
    g->w.flags |= GR_MANY;
    return;
  }
  if (n == 1)
    lua_xmove(from, T, 1);
  else
    lua_pushnil(T);
  lua_setiuservalue(T, -2, 1);
  g->L = NULL;
  if (status == LUA_OK) gr_keep_coroutine(S, g, from);
}

/* (its greenlet on top of S->L) Interrupts that it has not lived to see. */
static void forget_interrupts(gr_state *S, gr_greenlet *g) {
  lua_State *T = S->L;
  if (g->w.flags & GR_PENDING) {
    lua_pushvalue(T, -1);
    lua_pushnil(T);
    lua_rawset(T, GR_T_PENDING);
    gr_timeout_forget(S, g);
  }
}

/* (its greenlet on top of S->L) The Lua half starts its links and reports. */
static void tell_end(gr_state *S, gr_greenlet *g, bool observed) {
  lua_State *T = S->L;
  if (lua_rawgeti(T, GR_T_POLICY, GR_P_ON_END) == LUA_TNIL) {
    lua_pop(T, 1); /* nobody has loaded the Lua half */
    lua_pushcfunction(T, gr_report_plainly);
  }
  lua_pushvalue(T, -2);
  lua_pushboolean(T, observed);
  lua_xmove(T, S->talk, 3);
  gr_talk(S, g, 2);
}

/* Its outcome lies on top of `from`: values, all there are, or an error. */
static void finish(gr_state *S, gr_greenlet *g, lua_State *from, int status) {
  lua_State *T = S->L;
  gr_waiter *w = &g->w;
  bool observed = true;
  lua_rawgeti(T, GR_T_LIVE, g->slot); /* must outlive this */
  if (status != LUA_OK) {
    bool exits = is_exit(S, from);
    w->flags |= exits ? GR_EXITED : GR_FAILED;
    observed = exits || awaited(g) || (g->held && gr_held_observes(S, g));
  }
  keep_outcome(S, g, from, status);
  if (S->warm_of == g) gr_settle_coroutine(S, g->L);
  w->state = GR_DEAD;
  g->ended = ++S->ended;
  forget_interrupts(S, g);
  delist(S, g);
  if (w->flags & GR_LINKED || !observed) tell_end(S, g, observed);
  if (g->doomed) {
    g->doomed = false;
    lua_pushnil(T);
    lua_rawsetp(T, GR_T_ANCHOR, g);
  }
  if (g->held) gr_held_end(S, g);
  gr_wake_all(&S->hub, &g->joiners, GR_WOKEN);
  tell_drained(S); /* not before the links have been started */
  lua_pop(T, 1);
}

static void fail(gr_state *S, gr_greenlet *g, int status) {
  lua_State *co = g->L;
  if (S->limits && gr_limit_spent(S)) {
    if (status != LUA_YIELD) lua_pop(co, 1);
    gr_limit_explain(S, co);
  }
  if (!is_exit(S, co)) {
    lua_pushcfunction(S->talk, keep_traceback);
    gr_push_greenlet(S->talk, S, g);
    lua_pushlightuserdata(S->talk, S);
    gr_talk(S, g, 2);
  }
  g->w.flags |= GR_CLOSING;
  gr_hook_again(S, co);
  int closed = lua_resetthread(co); /* may block */
  if (S->limits && gr_limit_spent(S)) {
    lua_settop(co, 0);
    gr_limit_explain(S, co);
  } else if (closed != LUA_OK) {
    status = closed;
  }
  finish(S, g, co, status);
}

/* One that has not begun ends with the value on top of L, which is popped. */
static void end_with(lua_State *L, gr_state *S, gr_greenlet *g) {
  gr_node_remove(&g->w.node);
  gr_timers_remove(&S->hub.timers, &g->w.timer);
  finish(S, g, L, LUA_ERRRUN);
}

int gr_close_threads(gr_state *S, lua_State *co) {
  lua_State *inner = lua_status(co) == LUA_OK ? gr_resumee(co) : NULL;
  if (inner) gr_close_threads(S, inner);
  lua_State *before = gr_enter_coroutine(S, co);
  gr_hook_again(S, co);
  int status = lua_resetthread(co);
  gr_enter_coroutine(S, before);
  return status;
}

static void close_now(gr_state *S, gr_greenlet *g) {
  lua_State *co = g->L;
  int status = gr_close_threads(S, co);
  if (status == LUA_OK) lua_settop(co, 0);
  lua_rawgetp(S->L, GR_T_ANCHOR, g);
  lua_xmove(S->L, co, 1);
  lua_pushnil(S->L);
  lua_rawsetp(S->L, GR_T_ANCHOR, g);
  if (status != LUA_OK) lua_pop(co, 1); /* its own error instead */
  finish(S, g, co, LUA_ERRRUN);
}

void gr_greenlet_close(lua_State *L, gr_state *S, int arg) {
  gr_greenlet *g = lua_touserdata(L, arg);
  gr_waiter *w = &g->w;
  assert(g != S->main && w->state != GR_RUNNING);
  if (w->state == GR_DEAD || w->flags & GR_CLOSING) {
    lua_pop(L, 1);
    return;
  }
  if (!(w->flags & GR_STARTED)) {
    lua_pushvalue(L, arg);
    enlist(L, S, g);
    lua_pop(L, 1);
    end_with(L, S, g);
    return;
  }
  gr_push_table(L, S, GR_T_ANCHOR);
  lua_insert(L, -2);
  lua_rawsetp(L, -2, g);
  lua_pop(L, 1);
  if (w->stack && w->what && w->what->in_place) {
    g->doomed = true;
    w->flags |= GR_PENDING;
    if (w->state == GR_PARKED) gr_wake(&S->hub, w, GR_CLOSED);
    return;
  }
  if (w->state == GR_READY && w->status == GR_WOKEN && w->what &&
      w->what->give_back)
    w->what->give_back(L, w);
  w->flags |= GR_CLOSING;
  if (w->state == GR_PARKED) gr_wake(&S->hub, w, GR_RAISE);
  gr_hub_abandon(&S->hub, w);
}

/* --- its turn ----------------------------------------------------------- */

static const char stray[] =
    "attempt to yield from outside a coroutine: a greenlet is resumed by the "
    "hub alone (green.sleep(0) gives way)";
static const char tampered[] =
    "the greenlet's coroutine was resumed or closed by somebody else than "
    "the hub";

/* With thousands of greenlets, one that is woken has left the cache: fetch what
 * the next one's resume touches first while this one runs.  A fresh one has no
 * coroutine yet: a prefetch of what is not there does nothing. */
static void prefetch_next(const gr_hub *hub) {
  const gr_node *n = gr_list_first(&hub->ready);
  if (n == &hub->ready) return;
  const char *L = (char *)gr_container(n, gr_greenlet, w.node)->L;
  if (!L) { /* it begins on a coroutine that is warm; who comes then? */
    for (int line = -1; line < 2; line++)
      __builtin_prefetch((char *)n->next + line * 64, 1);
    return;
  }
  for (int line = 0; line < 4; line++) __builtin_prefetch(L + line * 64);
}

void gr_greenlet_resume(gr_hub *hub, gr_waiter *w) {
  gr_state *S = (gr_state *)(void *)hub;
  gr_greenlet *g = (gr_greenlet *)(void *)w;
  lua_State *co = g->L;
  int n = w->values, nres, status;
  if (w->flags & GR_CLOSING) {
    close_now(S, g);
    return;
  }
  if (!(w->flags & GR_STARTED)) {
    w->flags |= GR_STARTED;
    if (!begin(S, g)) {
      end_with(S->talk, S, g);
      return;
    }
    co = g->L;
    n = lua_gettop(co) - 1;
    if (S->hub.switched) gr_limit_begun(S, g); /* somebody has a budget */
  } else if (lua_status(co) != LUA_YIELD) {
    lua_resetthread(co);
    lua_pushstring(co, tampered);
    finish(S, g, co, LUA_ERRRUN);
    return;
  }
  S->resumed = co;
  prefetch_next(hub);
  status = lua_resume(co, NULL, n, &nres);
  while (status == LUA_YIELD && w->state == GR_RUNNING) {
    if (S->limits && gr_limit_spent(S)) break;
    lua_pop(co, nres);
    gr_raise_later(S, co, stray);
    status = lua_resume(co, NULL, 0, &nres);
  }
  if (status == LUA_YIELD && w->state != GR_RUNNING) return;
  if (status == LUA_OK)
    finish(S, g, co, status);
  else
    fail(S, g, status);
}

/* --- interrupts --------------------------------------------------------- */

lua_State *gr_blocked_thread(gr_state *S, gr_greenlet *g) {
  gr_stack *s = g == S->main ? &S->hub.driver : g->w.stack;
  return s ? s->data : g->L;
}

void gr_interrupt(lua_State *L, gr_state *S, int arg) {
  gr_greenlet *g = lua_touserdata(L, arg);
  gr_waiter *w = &g->w;
  if (w->state == GR_DEAD) {
    lua_pop(L, 1);
  } else if (!(w->flags & GR_STARTED)) {
    lua_pushvalue(L, arg);
    enlist(L, S, g);
    lua_pop(L, 1);
    end_with(L, S, g);
  } else if (w->state == GR_PARKED && w->what->foreign) {
    gr_keep_interrupt(L, S, arg);
    gr_wake(&S->hub, w, GR_RAISE);
  } else if (w->state == GR_PARKED) {
    lua_State *to = gr_blocked_thread(S, g);
    if (!lua_checkstack(to, 1)) luaL_error(L, "not enough memory");
    if (to != L) lua_xmove(L, to, 1);
    w->values = 1;
    gr_wake(&S->hub, w, GR_RAISE);
  } else {
    gr_keep_interrupt(L, S, arg);
  }
}
