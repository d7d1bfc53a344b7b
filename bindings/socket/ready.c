/* Waiting for any descriptor, whoever reads or writes it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "io.h"
#include "socket.h"
#include "watch.h"

static const gr_wait read_wait = {.name = "wait_read"};
static const gr_wait write_wait = {.name = "wait_write"};

/* --- descriptors of others ---------------------------------------------- */

/* One wait: over, however it ends, when the call does (its __close). */
typedef struct guard {
  gr_watch watch;
  gr_list waiters; /* one at most */
} guard;

static int close_guard(lua_State *L) {
  gr_watch_stop(&((guard *)lua_touserdata(L, 1))->watch);
  return 0;
}

static const char guard_key;

static guard *push_guard(lua_State *L) {
  guard *g = lua_newuserdatauv(L, sizeof *g, 0);
  gr_watch_init(&g->watch);
  gr_list_init(&g->waiters);
  gr_set_closer(L, &guard_key, close_guard);
  lua_toclose(L, -1);
  return g;
}

/* The descriptor of a number, or of an object that has `getfd`. */
static int check_fd(lua_State *L, int arg) {
  lua_Integer fd;
  if (lua_type(L, arg) == LUA_TNUMBER) {
    fd = luaL_checkinteger(L, arg);
  } else {
    int type = lua_type(L, arg);
    if ((type != LUA_TTABLE && type != LUA_TUSERDATA) ||
        lua_getfield(L, arg, "getfd") == LUA_TNIL)
      return luaL_typeerror(L, arg, "descriptor or object with getfd");
    lua_pushvalue(L, arg);
    lua_call(L, 1, 1);
    luaL_argcheck(L, lua_isnumber(L, -1), arg, "its getfd gives no number");
    fd = (lua_Integer)lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  luaL_argcheck(L, fd < 1 << 30, arg, "a descriptor expected");
  return fd < 0 ? -1 : (int)fd;
}

/* --- waiting ------------------------------------------------------------ */

/* Index 3 is the descriptor, `side` of which is waited for. */

static int is_ready(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

static int look(lua_State *L, int side) {
  struct pollfd p = {.fd = (int)lua_tointeger(L, 3),
                     .events = side == GRB_READ ? POLLIN : POLLOUT};
  if (poll(&p, 1, 0) > 0) return is_ready(L);
  return grb_fail(L, ETIMEDOUT);
}

static int ready_k(lua_State *L, int status, lua_KContext side) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, side, ready_k);
  if (how == GR_CLOSED) return grb_fail(L, 0);
  if (how == GR_WOKEN) return is_ready(L);
  gr_timed_out(L, 2);
  return look(L, (int)side);
}

static int look_k(lua_State *L, int status, lua_KContext side) {
  (void)status;
  gr_woken(L, gr_state_of(L), side, look_k);
  return look(L, (int)side);
}

static int look_once(lua_State *L, gr_state *S, int side) {
  if (grb_gives_way(L, S, true)) return grb_give_way(L, S, side, look_k);
  return look(L, side);
}

static int park(lua_State *L, gr_state *S, int side, double at) {
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, side == GRB_READ ? &read_wait : &write_wait, true, side,
                 ready_k);
}

static int wait_for_ours(lua_State *L, gr_state *S, grb_socket *s, int side,
                         double at) {
  gr_stream *st = &s->stream;
  grb_check_free(L, S, s, side, side == GRB_READ ? &read_wait : &write_wait);
  if (side == GRB_READ && gr_stream_dirty(st)) return is_ready(L);
  if (st->out.len) gr_stream_flush(st);
  if (at == 0) return look_once(L, S, side);
  gr_can_block(L, S, at);
  gr_io_await(side == GRB_READ ? &st->reads : &st->writes);
  return park(L, S, side, at);
}

static int wait_for_others(lua_State *L, gr_state *S, int fd, int side,
                           double at) {
  guard *of = push_guard(L);
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_watch_start(&of->watch, &S->hub, fd, side == GRB_READ ? EV_READ : EV_WRITE,
                 &of->waiters);
  gr_list_append(&of->waiters, &me->w.node);
  return park(L, S, side, at);
}

static int wait_for(lua_State *L, int side) {
  gr_state *S = gr_state_of(L);
  grb_socket *s = grb_to_socket(L, 1);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  int fd = s ? grb_fd(s) : check_fd(L, 1);
  if (fd < 0) return grb_fail(L, 0);
  lua_pushinteger(L, fd);
  if (s) return wait_for_ours(L, S, s, side, at);
  if (fcntl(fd, F_GETFD) < 0) return grb_fail(L, errno);
  if (at == 0) return look_once(L, S, side);
  return wait_for_others(L, S, fd, side, at);
}

/* wait_read(descriptor or object [, timeout]) -> true | nil, message */
static int wait_read(lua_State *L) {
  return wait_for(L, GRB_READ);
}

static int wait_write(lua_State *L) {
  return wait_for(L, GRB_WRITE);
}

const luaL_Reg grb_ready_funcs[] = {
    {"wait_read", wait_read}, {"wait_write", wait_write}, {NULL, NULL}};
