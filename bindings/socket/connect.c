/* Sockets find their peers: bind, listen, accept, connect. */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "socket.h"

static const gr_wait accept_wait = {.name = "accept"};
static const gr_wait connect_wait = {.name = "connect"};

static const struct sockaddr *raw(const struct grb_address *a) {
  return (const struct sockaddr *)&a->addr;
}

static int one(lua_State *L) {
  lua_pushinteger(L, 1);
  return 1;
}

int grb_have_fd(grb_socket *s, int family) {
  if (grb_fd(s) >= 0 && s->family == family) return 0;
  gr_stream_close(&s->stream);
  return grb_open_fd(s, family);
}

/* The path at index 2 as an address, at index 4. */
static int with_path(lua_State *L, gr_state *S, grb_socket *s,
                     grb_found *next) {
  size_t len;
  const char *path = luaL_checklstring(L, 2, &len);
  lua_settop(L, 3);
  grb_addresses *list =
      lua_newuserdatauv(L, sizeof *list + sizeof *list->at, 0);
  list->count = 1;
  if (grb_unix_address(path, len, list->at)) return next(L, S, s, list);
  lua_pushliteral(L, "path too long");
  return next(L, S, s, NULL);
}

static int with_addresses(lua_State *L, gr_state *S, grb_socket *s,
                          bool passive, grb_found *next) {
  return s->family == AF_UNIX ? with_path(L, S, s, next)
                              : grb_resolve(L, S, s, passive, next);
}

static int no_address(lua_State *L) {
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int bind_on(lua_State *L, gr_state *S, grb_socket *s,
                   grb_addresses *list) {
  int err = EADDRNOTAVAIL;
  (void)S;
  if (!list) return no_address(L);
  for (int i = 0; i < list->count; i++) {
    err = grb_have_fd(s, list->at[i].addr.ss_family);
    if (err) continue;
    if (!bind(grb_fd(s), raw(&list->at[i]), list->at[i].len)) return one(L);
    err = errno;
  }
  if (s->family == AF_UNIX) gr_stream_close(&s->stream);
  return grb_fail(L, err);
}

int grb_bind(lua_State *L, grb_socket *s) {
  grb_begin(s, GRB_WRITE);
  return with_addresses(L, gr_state_of(L), s, true, bind_on);
}

/* bind(host, port), bind(path) -> 1 | nil, message */
static int bind_socket(lua_State *L) {
  return grb_bind(L, grb_check(L, GRB_MASTER));
}

/* listen([backlog]) -> 1 | nil, message */
static int listen_socket(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_MASTER);
  int backlog = (int)luaL_optnumber(L, 2, 32);
  if (listen(grb_fd(s), backlog)) return grb_fail(L, errno);
  grb_set_class(L, 1, GRB_SERVER);
  return one(L);
}

/* --- connect ------------------------------------------------------------ */

/* The addresses are at index 4, `i` is the one to try. */

static int connect_on(lua_State *L, gr_state *S, grb_socket *s, lua_KContext i);

static int connected(lua_State *L) {
  grb_set_class(L, 1, GRB_CLIENT); /* a UNIX socket's class changes only now */
  return one(L);
}

static int not_connected(lua_State *L, grb_socket *s, int err) {
  if (s->family == AF_UNIX) gr_stream_close(&s->stream);
  return grb_fail(L, err);
}

/* This address failed: the next one, if there is one. */
static int refused(lua_State *L, gr_state *S, grb_socket *s, lua_KContext i,
                   int err) {
  grb_addresses *list = lua_touserdata(L, 4);
  if (i + 1 < list->count) return connect_on(L, S, s, i + 1);
  return not_connected(L, s, err);
}

static int connect_k(lua_State *L, int status, lua_KContext i) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, i, connect_k);
  grb_socket *s = lua_touserdata(L, 1);
  int err = 0;
  socklen_t size = sizeof err;
  if (how == GR_TIMEDOUT) return not_connected(L, s, ETIMEDOUT);
  if (grb_fd(s) < 0) return grb_fail(L, 0);
  getsockopt(grb_fd(s), SOL_SOCKET, SO_ERROR, &err, &size);
  return err ? refused(L, S, s, i, err) : connected(L);
}

/* A UNIX server's backlog is full, and nothing tells when it is not. */
static int again_k(lua_State *L, int status, lua_KContext i) {
  gr_state *S = gr_state_of(L);
  (void)status;
  gr_woken(L, S, i, again_k);
  grb_socket *s = lua_touserdata(L, 1);
  if (grb_fd(s) < 0) return grb_fail(L, 0);
  if (gr_hub_now(&S->hub) >= s->until[GRB_WRITE])
    return not_connected(L, s, ETIMEDOUT);
  return connect_on(L, S, s, i);
}

static int connect_again(lua_State *L, gr_state *S, grb_socket *s,
                         lua_KContext i) {
  double at = fmin(gr_hub_now(&S->hub) + 2e-3, grb_deadline(s, GRB_WRITE));
  gr_can_block(L, S, at);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &connect_wait, false, i, again_k);
}

/* Linux tells of a failure that is known already once more. */
static int try_connect(int fd, const struct grb_address *a) {
  for (int tries = 2; tries; tries--) {
    if (!connect(fd, raw(a), a->len)) return 0;
    if (errno != ECONNABORTED) break;
  }
  return errno;
}

static int connect_on(lua_State *L, gr_state *S, grb_socket *s,
                      lua_KContext i) {
  grb_addresses *list = lua_touserdata(L, 4);
  const struct grb_address *a = &list->at[i];
  int err = grb_have_fd(s, a->addr.ss_family);
  if (!err) err = try_connect(grb_fd(s), a);
  if (!err) return connected(L);
  if (err != EINPROGRESS && err != EINTR && err != EAGAIN)
    return grb_polls(s) ? not_connected(L, s, err) : refused(L, S, s, i, err);
  if (grb_polls(s)) return not_connected(L, s, ETIMEDOUT);
  if (err == EAGAIN) return connect_again(L, S, s, i);
  /* For each address anew; the name's lookup counts for the first. */
  if (i && s->family != AF_UNIX) grb_begin(s, GRB_WRITE);
  return grb_wait(L, S, s, GRB_WRITE, &connect_wait, i, connect_k);
}

static int connect_to(lua_State *L, gr_state *S, grb_socket *s,
                      grb_addresses *list) {
  return list ? connect_on(L, S, s, 0) : no_address(L);
}

/* connect(host, port), connect(path) -> 1 | nil, message */
static int connect_socket(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_STREAM);
  if (s->family == AF_UNIX) grb_check(L, GRB_MASTER);
  gr_state *S = gr_state_of(L);
  luaL_checkstring(L, 2);
  if (s->family != AF_UNIX) luaL_checkstring(L, 3);
  grb_check_free(L, S, s, GRB_WRITE, &connect_wait);
  if (s->family != AF_UNIX) grb_set_class(L, 1, GRB_CLIENT);
  grb_begin(s, GRB_WRITE);
  return with_addresses(L, S, s, false, connect_to);
}

/* --- accept ------------------------------------------------------------- */

/* The object for the next connection is at index 2.  If there is an index 3,
 * a server asks: it wants the peer's address, and to be told of a shortage. */

enum { WAITED, STARVED, RESTED }; /* what accept_k is called after */
static const double first_delay = 0.01, last_delay = 1;

static int accept_on(lua_State *L, gr_state *S, grb_socket *s, bool last);

static bool for_server(lua_State *L) {
  return lua_gettop(L) >= 3;
}

/* What is accepted has most options of the socket that accepts it. */
static bool passes_nodelay_on(grb_socket *s) {
  int on = 0;
  socklen_t size = sizeof on;
  if (!s->passes) {
    getsockopt(grb_fd(s), IPPROTO_TCP, TCP_NODELAY, &on, &size);
    s->passes = on ? 1 : 2;
  }
  return s->passes == 1;
}

static int accepted(lua_State *L, grb_socket *s, int fd,
                    const struct grb_address *from) {
  grb_socket *new = lua_touserdata(L, 2);
  bool server = for_server(L);
  s->delay = 0;
  new->delays = s->delays;
  if (passes_nodelay_on(s))
    gr_stream_set_fd(&new->stream, fd);
  else
    grb_adopt(new, fd);
  lua_settop(L, 2);
  if (!server) return 1;
  lua_pushlstring(L, (const char *)&from->addr, from->len);
  return 2;
}

static int accept_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, accept_k);
  grb_socket *s = lua_touserdata(L, 1);
  bool late = how == GR_TIMEDOUT &&
              (ctx == WAITED || gr_hub_now(&S->hub) >= s->until[GRB_READ]);
  return accept_on(L, S, s, late || grb_polls(s));
}

/* No descriptor is left.  The connection stays in the backlog until one of
 * our sockets is closed, or somebody else gives way. */
static int starve(lua_State *L, gr_state *S, grb_socket *s) {
  s->delay = s->delay == 0 ? first_delay : fmin(s->delay * 2, last_delay);
  double at = fmin(gr_hub_now(&S->hub) + s->delay, grb_deadline(s, GRB_READ));
  gr_greenlet *me = gr_can_block(L, S, at);
  gr_list_append(&S->hub.streams->starved, &me->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &accept_wait, false, STARVED, accept_k);
}

/* A server says so once, and then waits as everybody does. */
static int tell_shortage(lua_State *L, grb_socket *s, int err) {
  s->delay = first_delay / 2;
  int n = grb_fail(L, err);
  lua_pushboolean(L, 1);
  return n + 1;
}

/* A connection that broke while it waited is no failure of the server's. */
static bool is_peers(int err) {
  switch (err) {
  case EINTR:
  case ECONNABORTED:
  case EPROTO:
  case ENETDOWN:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case EHOSTUNREACH:
  case ENETUNREACH:
    return true;
  default:
    return false;
  }
}

static bool is_shortage(int err) {
  return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static int accept_later(lua_State *L, gr_state *S, grb_socket *s, bool last,
                        int err) {
  if (err != EAGAIN && !is_shortage(err)) return grb_fail(L, err);
  if (last) {
    if (!grb_gives_way(L, S, true)) return grb_fail(L, ETIMEDOUT);
    return grb_give_way(L, S, WAITED, accept_k);
  }
  if (err != EAGAIN && for_server(L) && s->delay == 0)
    return tell_shortage(L, s, err);
  if (err != EAGAIN) return starve(L, S, s);
  return grb_wait(L, S, s, GRB_READ, &accept_wait, WAITED, accept_k);
}

static int accept_on(lua_State *L, gr_state *S, grb_socket *s, bool last) {
  struct grb_address from;
  int fd;
  if (grb_fd(s) < 0) return grb_fail(L, 0);
  do {
    from.len = sizeof from.addr;
    fd = accept4(grb_fd(s), (struct sockaddr *)&from.addr, &from.len,
                 SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && is_peers(errno));
  if (fd < 0) return accept_later(L, S, s, last, errno);
  return accepted(L, s, fd, &from);
}

/* Whoever is killed as it gives way must not hold a connection: so first. */
static int accept_now(lua_State *L, gr_state *S, grb_socket *s) {
  grb_new_socket(L, S, GRB_CLIENT, s->family);
  lua_replace(L, 2);
  grb_begin(s, GRB_READ);
  if (grb_gives_way(L, S, false)) return grb_give_way(L, S, RESTED, accept_k);
  return accept_on(L, S, s, grb_polls(s));
}

static int accept_as(lua_State *L, int top) {
  grb_socket *s = grb_check(L, GRB_SERVER);
  gr_state *S = gr_state_of(L);
  lua_settop(L, 1);
  lua_settop(L, top);
  grb_check_free(L, S, s, GRB_READ, &accept_wait);
  lua_settop(L, top);
  return accept_now(L, S, s);
}

/* accept() -> a client | nil, message */
static int accept_socket(lua_State *L) {
  return accept_as(L, 2);
}

/* accept(server) -> a client, its address for greenlua.core.server's decode |
 * nil, message [, true: a shortage has begun] */
static int accept_for_server(lua_State *L) {
  return accept_as(L, 3);
}

const luaL_Reg grb_connect_methods[] = {{"bind", bind_socket},
                                        {"setsockname", bind_socket},
                                        {"listen", listen_socket},
                                        {"accept", accept_socket},
                                        {"connect", connect_socket},
                                        {"setpeername", connect_socket},
                                        {NULL, NULL}};

const luaL_Reg grb_connect_funcs[] = {{"accept", accept_for_server},
                                      {NULL, NULL}};
