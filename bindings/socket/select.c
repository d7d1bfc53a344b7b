/* greenlua.core.select: one greenlet waits for many descriptors.
 *
 * They are not ours, and may be closed as soon as we look away, so a wait arms
 * a watcher for each and takes all of them back on every way out.  Which ones
 * are ready is for poll(2) to say, before the wait and after it. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "greenlualib.h"
#include "state.h"
#include "watch.h"

static const gr_wait select_wait = {.name = "select"};

typedef struct selection {
  gr_hub *hub;
  gr_list waiters; /* one at most */
  nfds_t n;
  struct pollfd *fds; /* of[] below is followed by them */
  gr_watch of[];
} selection;

enum { FDS = 1, EVENTS, TIMEOUT, SELECTION }; /* on the stack */

/* --- watches ------------------------------------------------------------ */

static void arm_all(selection *s) {
  for (nfds_t i = 0; i < s->n; i++) {
    int events = (s->fds[i].events & POLLIN ? EV_READ : 0) |
                 (s->fds[i].events & POLLOUT ? EV_WRITE : 0);
    if (s->fds[i].fd < 0 || !events) continue;
    gr_watch_start(&s->of[i], s->hub, s->fds[i].fd, events, &s->waiters);
  }
}

/* Its __close: the end of the call, however it ends. */
static int disarm_all(lua_State *L) {
  selection *s = lua_touserdata(L, 1);
  if (!s->hub->open) return 0; /* the end of the program */
  for (nfds_t i = 0; i < s->n; i++) gr_watch_stop(&s->of[i]);
  return 0;
}

static const char guard_key;

static selection *push_selection(lua_State *L, gr_state *S) {
  size_t n = lua_rawlen(L, FDS);
  luaL_argcheck(L, n <= INT_MAX / 256, FDS, "too many descriptors");
  size_t head = sizeof(selection) + n * sizeof(gr_watch);
  selection *s = lua_newuserdatauv(L, head + n * sizeof *s->fds, 0);
  s->hub = &S->hub;
  s->n = n;
  s->fds = (struct pollfd *)(void *)((char *)s + head);
  gr_list_init(&s->waiters);
  for (size_t i = 0; i < n; i++) {
    gr_watch_init(&s->of[i]);
    lua_rawgeti(L, FDS, (lua_Integer)i + 1);
    lua_rawgeti(L, EVENTS, (lua_Integer)i + 1);
    lua_Integer fd = luaL_checkinteger(L, -2);
    luaL_argcheck(L, fd < 1 << 30, FDS, "descriptors expected");
    s->fds[i].fd = fd < 0 ? -1 : (int)fd;
    s->fds[i].events = (short)luaL_checkinteger(L, -1);
    s->fds[i].revents = 0;
    lua_pop(L, 2);
  }
  return s;
}

static void guard(lua_State *L) {
  lua_pushvalue(L, SELECTION);
  gr_set_closer(L, &guard_key, disarm_all);
  lua_pop(L, 1);
  lua_toclose(L, SELECTION);
}

/* --- waiting ------------------------------------------------------------ */

/* How many are ready now. */
static int look(lua_State *L, selection *s) {
  int n;
  do n = poll(s->fds, s->n, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) return luaL_error(L, "poll failed: %s", strerror(errno));
  return n;
}

static int answer(lua_State *L, selection *s, int n, bool waited) {
  lua_pushinteger(L, n);
  lua_createtable(L, (int)s->n, 0);
  for (nfds_t i = 0; i < s->n; i++) {
    lua_pushinteger(L, s->fds[i].revents);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushboolean(L, waited);
  return 3;
}

static int poll_k(lua_State *L, int status, lua_KContext ctx) {
  selection *s = lua_touserdata(L, SELECTION);
  (void)status;
  if (gr_woken(L, gr_state_of(L), ctx, poll_k) == GR_TIMEDOUT)
    gr_timed_out(L, TIMEOUT);
  return answer(L, s, look(L, s), true);
}

/* poll(descriptors, events [, timeout]) -> how many are ready, for each of them
 * its events, have we waited?  The world may have changed by then, so that none
 * is ready though time is left. */
static int l_poll(lua_State *L) {
  gr_state *S = gr_state_of(L);
  luaL_checktype(L, FDS, LUA_TTABLE);
  luaL_checktype(L, EVENTS, LUA_TTABLE);
  double at = gr_check_deadline(L, S, TIMEOUT);
  lua_settop(L, TIMEOUT);
  selection *s = push_selection(L, S);
  int n = look(L, s);
  if (n || at == 0) return answer(L, s, n, false);
  guard(L);
  gr_greenlet *me = gr_can_block(L, S, at);
  arm_all(s);
  gr_list_append(&s->waiters, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &select_wait, s->n > 0, 0, poll_k);
}

int luaopen_greenlua_core_select(lua_State *L) {
  static const luaL_Reg funcs[] = {{"poll", l_poll}, {NULL, NULL}};
  static const struct {
    const char *name;
    int value;
  } events[] = {{"POLLIN", POLLIN},
                {"POLLOUT", POLLOUT},
                {"POLLERR", POLLERR},
                {"POLLHUP", POLLHUP},
                {"POLLNVAL", POLLNVAL}};
  gr_state *S = gr_state_open(L);
  gr_need_loop(L, S, "greenlua.select");
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    lua_pushinteger(L, events[i].value);
    lua_setfield(L, -2, events[i].name);
  }
  return 1;
}
