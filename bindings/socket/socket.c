/* greenlua.core.socket: TCP, UDP and UNIX sockets with LuaSocket's surface.
 * lua/greenlua/socket.lua builds the public module on it. */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "filter.h"
#include "greenlualib.h"

static double wall_clock(void) {
  struct timeval now;
  gettimeofday(&now, NULL);
  return (double)now.tv_sec + (double)now.tv_usec * 1e-6;
}

grb_socket *grb_new_socket(lua_State *L, gr_state *S, int class, int family) {
  if (!S->hub.streams) luaL_error(L, "the hub is closed");
  grb_socket *s = lua_newuserdatauv(L, sizeof *s, 1);
  *s = (grb_socket){.magic = &grb_socket_magic,
                    .family = family,
                    .block = -1,
                    .total = -1,
                    .birth = gr_hub_now(&S->hub)};
  gr_stream_init(&s->stream, &S->hub, -1);
  grb_set_class(L, -1, class);
  return s;
}

int grb_open_fd(grb_socket *s, int family) {
  int on = 1, type = grb_is_datagram(s) ? SOCK_DGRAM : SOCK_STREAM;
  int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  s->family = family;
  grb_adopt(s, fd);
  return 0;
}

void grb_adopt(grb_socket *s, int fd) {
  int on = 1;
  if (s->family != AF_UNIX && !grb_is_datagram(s) && !s->delays)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  gr_stream_set_fd(&s->stream, fd);
}

/* --- failing ------------------------------------------------------------ */

const char *grb_message(int err) {
  switch (err) {
  case 0:
  case EPIPE:
  case ECONNRESET:
  case ECONNABORTED:
    return "closed";
  case ETIMEDOUT:
  case EAGAIN:
    return "timeout";
  case EADDRINUSE:
    return "address already in use";
  case EISCONN:
    return "already connected";
  case EACCES:
    return "permission denied";
  case ECONNREFUSED:
    return "connection refused";
  default:
    return strerror(err);
  }
}

const char *grb_stream_message(const gr_stream *st, int side, int err) {
  const gr_filter *f = st->filter;
  if (f && err == EPROTO && f->message) return f->message;
  if (f && err == ETIMEDOUT && f->late[side]) return f->late[side];
  return grb_message(err);
}

int grb_fail(lua_State *L, int err) {
  lua_pushnil(L);
  lua_pushstring(L, grb_message(err));
  return 2;
}

/* --- waiting ------------------------------------------------------------ */

static gr_io *side_of(grb_socket *s, int side) {
  return side == GRB_READ ? &s->stream.reads : &s->stream.writes;
}

void grb_check_free(lua_State *L, gr_state *S, grb_socket *s, int side,
                    const gr_wait *what) {
  gr_check_free(L, S, side_of(s, side), what, grb_class_name(s));
}

static double now(const grb_socket *s) {
  return gr_hub_now(gr_stream_hub(&s->stream));
}

/* LuaSocket's clock: both limits count from the start of the operation; if
 * both are set, `block` limits each wait. */
void grb_begin(grb_socket *s, int side) {
  double limit = s->total >= 0 ? s->total : s->block;
  s->until[side] = limit < 0 ? INFINITY : now(s) + limit;
}

double grb_deadline(const grb_socket *s, int side) {
  double until = s->until[side];
  if (s->block < 0 || s->total < 0) return until;
  return fmin(until, now(s) + s->block);
}

int grb_wait(lua_State *L, gr_state *S, grb_socket *s, int side,
             const gr_wait *what, lua_KContext ctx, lua_KFunction k) {
  double at = grb_deadline(s, side);
  grb_check_free(L, S, s, side, what);
  return gr_park_io(L, S, side_of(s, side), at, what, ctx, k);
}

bool grb_gives_way(lua_State *L, gr_state *S, bool fruitless) {
  return gr_gives_way(L, S, fruitless ? 8 : 1);
}

int grb_give_way(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k) {
  return gr_let_others(L, S, ctx, k);
}

/* --- life --------------------------------------------------------------- */

int grb_make(lua_State *L, int class, int family) {
  grb_socket *s = grb_new_socket(L, gr_state_of(L), class, family);
  int err = family == AF_UNSPEC ? 0 : grb_open_fd(s, family);
  return err ? grb_fail(L, err) : 1;
}

static int tcp(lua_State *L) {
  return grb_make(L, GRB_MASTER, AF_UNSPEC);
}

static int tcp4(lua_State *L) {
  return grb_make(L, GRB_MASTER, AF_INET);
}

static int tcp6(lua_State *L) {
  return grb_make(L, GRB_MASTER, AF_INET6);
}

static int unix_stream(lua_State *L) {
  return grb_make(L, GRB_MASTER, AF_UNIX);
}

/* pair() -> two connected UNIX sockets | nil, message */
static int pair(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grb_socket *a = grb_new_socket(L, S, GRB_CLIENT, AF_UNIX);
  grb_socket *b = grb_new_socket(L, S, GRB_CLIENT, AF_UNIX);
  int fds[2], type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (socketpair(AF_UNIX, type, 0, fds)) return grb_fail(L, errno);
  grb_adopt(a, fds[0]);
  grb_adopt(b, fds[1]);
  return 2;
}

static int fd_option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) ? -errno : value;
}

static int class_of_fd(int fd, bool datagrams) {
  struct sockaddr_storage a;
  socklen_t size = sizeof a;
  bool connected = !getpeername(fd, (struct sockaddr *)&a, &size);
  if (datagrams) return connected ? GRB_CONNECTED : GRB_UNCONNECTED;
  if (fd_option(fd, SO_ACCEPTCONN) > 0) return GRB_SERVER;
  return connected ? GRB_CLIENT : GRB_MASTER;
}

/* fromfd(fd) -> an object that owns it | nil, message */
static int from_fd(lua_State *L) {
  lua_Integer arg = luaL_checkinteger(L, 1);
  luaL_argcheck(L, arg >= 0 && arg < 1 << 30, 1, "fd: a descriptor expected");
  int fd = (int)arg, family = fd_option(fd, SO_DOMAIN);
  if (family < 0) return grb_fail(L, -family);
  bool known = family == AF_INET || family == AF_INET6 || family == AF_UNIX;
  int type = fd_option(fd, SO_TYPE);
  if (!known || (type != SOCK_STREAM && type != SOCK_DGRAM))
    return grb_fail(L, ESOCKTNOSUPPORT);
  int class = class_of_fd(fd, type == SOCK_DGRAM);
  grb_socket *s = grb_new_socket(L, gr_state_of(L), class, family);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
    return grb_fail(L, errno);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  gr_stream_set_fd(&s->stream, fd);
  return 1;
}

static int close_socket(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  grb_stop_resolving(s);
  gr_stream_close(&s->stream);
  lua_pushinteger(L, 1);
  return 1;
}

/* --- the descriptor ----------------------------------------------------- */

static const gr_wait flush_wait = {.name = "flush"};

static int flush_k(lua_State *L, int status, lua_KContext ctx);

/* Let all output go, then do what `ctx` says: give the descriptor up. */
static int flush(lua_State *L, gr_state *S, grb_socket *s, lua_KContext ctx) {
  gr_stream *st = &s->stream;
  if (grb_fd(s) >= 0 && gr_stream_flush(st) == -EAGAIN) {
    if (grb_polls(s)) return grb_fail(L, ETIMEDOUT);
    return grb_wait(L, S, s, GRB_WRITE, &flush_wait, ctx, flush_k);
  }
  lua_pushlstring(L, st->in.data, st->in.len);
  int fd = gr_stream_detach(st);
  if (fd < 0 && ctx) return grb_fail(L, 0);
  if (ctx) {
    lua_pushinteger(L, fd);
    lua_insert(L, -2);
    return 2;
  }
  fd = (int)lua_tointeger(L, 2);
  if (fd >= 0) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    gr_stream_set_fd(st, fd);
    s->passes = 0;
  }
  return 0;
}

static int flush_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  if (gr_woken(L, S, ctx, flush_k) == GR_TIMEDOUT)
    return grb_fail(L, ETIMEDOUT);
  return flush(L, S, lua_touserdata(L, 1), ctx);
}

/* detach() -> descriptor, bytes already read from it | nil, message */
static int detach(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  grb_begin(s, GRB_WRITE);
  return flush(L, gr_state_of(L), s, true);
}

/* setfd(fd): leaves the old one open, as LuaSocket does */
static int set_fd(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  lua_Integer fd = (lua_Integer)luaL_checknumber(L, 2);
  luaL_argcheck(L, fd >= -1 && fd < 1 << 30, 2, "fd: a descriptor or -1");
  lua_settop(L, 1);
  lua_pushinteger(L, fd);
  grb_begin(s, GRB_WRITE);
  return flush(L, gr_state_of(L), s, false);
}

static int get_fd(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  if (grb_fd(s) >= 0) gr_stream_flush(&s->stream);
  lua_pushinteger(L, grb_fd(s));
  return 1;
}

/* --- timeouts and counts ------------------------------------------------ */

/* settimeout([seconds [, mode]]) -> 1 */
static int set_timeout(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  double t = luaL_optnumber(L, 2, -1);
  const char *mode = luaL_optstring(L, 3, "b");
  luaL_argcheck(L, t == t, 2, "timeout: a number of seconds expected");
  luaL_argcheck(L, *mode == 'b' || *mode == 't' || *mode == 'r', 3,
                "invalid timeout mode");
  *(*mode == 'b' ? &s->block : &s->total) = t;
  lua_pushinteger(L, 1);
  return 1;
}

static int get_timeout(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  lua_pushnumber(L, s->block);
  lua_pushnumber(L, s->total);
  return 2;
}

/* getstats() -> bytes received, bytes sent, age */
static int get_stats(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  lua_pushinteger(L, (lua_Integer)s->stream.received);
  lua_pushinteger(L, (lua_Integer)s->stream.sent);
  lua_pushnumber(L, now(s) - s->birth);
  return 3;
}

static int set_stats(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  gr_stream *st = &s->stream;
  st->received = (uint64_t)luaL_optnumber(L, 2, (lua_Number)st->received);
  st->sent = (uint64_t)luaL_optnumber(L, 3, (lua_Number)st->sent);
  if (lua_isnumber(L, 4)) s->birth = now(s) - lua_tonumber(L, 4);
  lua_pushinteger(L, 1);
  return 1;
}

static int get_time(lua_State *L) {
  lua_pushnumber(L, wall_clock());
  return 1;
}

static int host_name(lua_State *L) {
  char name[257] = "";
  if (gethostname(name, sizeof name - 1)) return grb_fail(L, errno);
  lua_pushstring(L, name);
  return 1;
}

/* --- the module --------------------------------------------------------- */

const luaL_Reg grb_methods[] = {{"close", close_socket},
                                {"__gc", close_socket},
                                {"__close", close_socket},
                                {"detach", detach},
                                {"getfd", get_fd},
                                {"setfd", set_fd},
                                {"settimeout", set_timeout},
                                {"gettimeout", get_timeout},
                                {NULL, NULL}};

const luaL_Reg grb_stats_methods[] = {
    {"getstats", get_stats}, {"setstats", set_stats}, {NULL, NULL}};

int luaopen_greenlua_core_socket(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"tcp", tcp},          {"tcp4", tcp4},
      {"tcp6", tcp6},        {"unix", unix_stream},
      {"pair", pair},        {"fromfd", from_fd},
      {"gettime", get_time}, {"gethostname", host_name},
      {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  gr_need_loop(L, S, "greenlua.socket");
  if (gr_streams_open(&S->hub)) return luaL_error(L, "not enough memory");
  luaL_newlibtable(L, funcs);
  gr_setfuncs(L, S, funcs);
  gr_setfuncs(L, S, grb_connect_funcs);
  gr_setfuncs(L, S, grb_datagram_funcs);
  gr_setfuncs(L, S, grb_filter_funcs);
  gr_setfuncs(L, S, grb_ready_funcs);
  grb_open_classes(L, S);
  return 1;
}
