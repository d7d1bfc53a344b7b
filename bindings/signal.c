/* greenlua.core.signal: a function in a greenlet of its own, at each delivery
 * of a signal.  See lua/greenlua/signal.lua. */
#include <math.h>
#include <signal.h>

#include "greenlualib.h"
#include "state.h"

static const char *const class_name = "greenlua.signal";
static const gr_wait signal_wait = {.name = "signal"};

typedef struct watcher {
  ev_signal ev;
  gr_hub *hub;
  gr_list waiters; /* for the next delivery */
  unsigned missed; /* deliveries that nobody has waited for */
} watcher;

static watcher *check_watcher(lua_State *L) {
  return luaL_checkudata(L, 1, class_name);
}

static void on_signal(struct ev_loop *loop, ev_signal *ev, int events) {
  watcher *w = ev->data;
  (void)loop, (void)events;
  if (gr_list_empty(&w->waiters))
    w->missed++;
  else
    gr_wake_all(w->hub, &w->waiters, GR_WOKEN);
}

/* watch(number): it is caught from now on */
static int watch(lua_State *L) {
  gr_state *S = gr_state_of(L);
  int number = (int)luaL_checkinteger(L, 1);
  luaL_argcheck(
      L, number > 0 && number < NSIG && number != SIGKILL && number != SIGSTOP,
      1, "not a signal that can be caught");
  gr_check_open(L, S);
  if (!S->hub.signals)
    return luaL_error(L, "the host has not granted signals to scripts");
  watcher *w = lua_newuserdatauv(L, sizeof *w, 0);
  w->hub = &S->hub;
  w->missed = 0;
  gr_list_init(&w->waiters);
  ev_signal_init(&w->ev, on_signal, number);
  w->ev.data = w;
  luaL_setmetatable(L, class_name);
  ev_signal_start(S->hub.loop, &w->ev);
  gr_hub_watch(&S->hub);
  return 1;
}

static int stop(lua_State *L) {
  watcher *w = check_watcher(L);
  if (!ev_is_active(&w->ev)) return 0;
  gr_hub_unwatch(w->hub);
  ev_signal_stop(w->hub->loop, &w->ev);
  w->missed = 0;
  if (w->hub->current) gr_wake_all(w->hub, &w->waiters, GR_CLOSED);
  return 0;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  int how = gr_woken(L, gr_state_of(L), ctx, wait_k);
  lua_pushboolean(L, how == GR_WOKEN);
  return 1;
}

/* w:wait(ref) -> true at the next delivery, false once it is stopped.  `ref`:
 * does the wait keep the program going? */
static int wait(lua_State *L) {
  gr_state *S = gr_state_of(L);
  watcher *w = check_watcher(L);
  bool ref = lua_toboolean(L, 2);
  if (w->missed || !ev_is_active(&w->ev)) {
    lua_pushboolean(L, w->missed > 0);
    w->missed -= w->missed > 0;
    return 1;
  }
  gr_greenlet *me = gr_can_block(L, S, HUGE_VAL);
  gr_list_append(&w->waiters, &me->w.node);
  return gr_park(L, S, &signal_wait, ref, 0, wait_k);
}

int luaopen_greenlua_core_signal(lua_State *L) {
  static const luaL_Reg funcs[] = {{"watch", watch}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"wait", wait}, {"stop", stop}, {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", stop}, {NULL, NULL}};
  static const struct {
    const char *name;
    int number;
  } names[] = {
      {"SIGHUP", SIGHUP},   {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT},
      {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}, {"SIGPIPE", SIGPIPE},
      {"SIGALRM", SIGALRM}, {"SIGTERM", SIGTERM}, {"SIGCHLD", SIGCHLD},
      {"SIGCONT", SIGCONT}, {"SIGTSTP", SIGTSTP}, {"SIGWINCH", SIGWINCH},
      {"SIGTTIN", SIGTTIN}, {"SIGTTOU", SIGTTOU}};
  gr_state *S = gr_state_open(L);
  gr_need_loop(L, S, "greenlua.signal");
  luaL_newmetatable(L, class_name);
  gr_setfuncs(L, S, meta);
  luaL_newlibtable(L, methods);
  gr_setfuncs(L, S, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushinteger(L, names[i].number);
    lua_setfield(L, -2, names[i].name);
  }
  return 1;
}
