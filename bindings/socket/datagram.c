/* UDP and UNIX datagram sockets: LuaSocket's udp{…} and unixdgram{…}.
 *
 * They are sockets whose streams buffer nothing: only the descriptor and the
 * two sides to park on are used.  A datagram goes or comes as a whole, so any
 * number of greenlets may send on one socket; only one reads. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <string.h>

#include "socket.h"

enum { SIZE = 8192 }; /* of what is received, if the call names none */

static const gr_wait receive_wait = {.name = "receive"};
static const gr_wait from_wait = {.name = "receivefrom"};
static const gr_wait send_wait = {.name = "send"};
static const gr_wait to_wait = {.name = "sendto"};

/* Who has called often without waiting gives way before the next datagram is
 * taken: one that a greenlet had in hands when it is killed would be lost. */

/* The context of continuations: with an address (receivefrom, sendto)? */
enum { PEER, ADDRESS };

/* --- receive ------------------------------------------------------------ */

/* A closed one has no more datagrams; for LuaSocket it has endless empty ones,
 * which no program can want. */

static ssize_t receive_into(int fd, void *to, size_t size, int flags,
                            struct grb_address *from) {
  ssize_t n;
  from->len = sizeof from->addr;
  do
    n = recvfrom(fd, to, size, flags, (struct sockaddr *)&from->addr,
                 &from->len);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

/* Push a datagram of more than SIZE bytes: as much memory as it takes, not as
 * much as the caller would bear. */
static ssize_t take_large(lua_State *L, int fd, size_t size,
                          struct grb_address *from) {
  luaL_Buffer b;
  ssize_t n = receive_into(fd, NULL, 0, MSG_PEEK | MSG_TRUNC, from);
  if (n < 0) return n;
  if ((size_t)n < size) size = (size_t)n;
  char *to = luaL_buffinitsize(L, &b, size);
  n = receive_into(fd, to, size, 0, from);
  if (n >= 0) luaL_pushresultsize(&b, (size_t)n);
  return n;
}

/* Push the next datagram, cut to the size at index 2: 0 or more, -errno. */
static ssize_t take(lua_State *L, int fd, struct grb_address *from) {
  char buffer[SIZE];
  double most = lua_tonumber(L, 2);
  if (most > SIZE) return take_large(L, fd, (size_t)fmin(most, 0x1p40), from);
  ssize_t n = receive_into(fd, buffer, (size_t)most, 0, from);
  if (n >= 0) lua_pushlstring(L, buffer, (size_t)n);
  return n;
}

static int receive_k(lua_State *L, int status, lua_KContext ctx);

/* `last`: there is no time left to wait, but what has come counts. */
static int receive_on(lua_State *L, gr_state *S, grb_socket *s,
                      lua_KContext ctx, bool last) {
  const gr_wait *what = ctx == ADDRESS ? &from_wait : &receive_wait;
  struct grb_address from;
  if (grb_fd(s) < 0) return grb_fail(L, 0);
  from.addr.ss_family = (sa_family_t)s->family; /* a nameless peer tells none */
  lua_settop(L, 2);
  ssize_t n = take(L, grb_fd(s), &from);
  if (n >= 0) return ctx == ADDRESS ? 1 + grb_push_address(L, &from) : 1;
  if (n != -EAGAIN) return grb_fail(L, (int)-n);
  lua_settop(L, 2);
  if (!last) return grb_wait(L, S, s, GRB_READ, what, ctx, receive_k);
  if (grb_gives_way(L, S, true)) return grb_give_way(L, S, ctx, receive_k);
  return grb_fail(L, ETIMEDOUT);
}

static int receive_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, receive_k);
  grb_socket *s = lua_touserdata(L, 1);
  return receive_on(L, S, s, ctx, how == GR_TIMEDOUT || grb_polls(s));
}

static int start_receive(lua_State *L, grb_socket *s, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  double most = luaL_optnumber(L, 2, SIZE);
  if (!(most >= 0)) { /* LuaSocket takes it for a very large number */
    lua_pushnil(L);
    lua_pushliteral(L, "out of memory");
    return 2;
  }
  lua_settop(L, 1);
  lua_pushnumber(L, most);
  grb_check_free(L, S, s, GRB_READ,
                 ctx == ADDRESS ? &from_wait : &receive_wait);
  grb_begin(s, GRB_READ);
  if (grb_gives_way(L, S, false)) return grb_give_way(L, S, ctx, receive_k);
  return receive_on(L, S, s, ctx, grb_polls(s));
}

/* receive([size]) -> datagram | nil, message */
static int receive(lua_State *L) {
  return start_receive(L, grb_check(L, GRB_DATAGRAM), PEER);
}

/* receivefrom([size]) -> datagram, host, port | datagram, path | nil, message
 */
static int receive_from(lua_State *L) {
  return start_receive(L, grb_check(L, GRB_UNCONNECTED), ADDRESS);
}

/* --- send --------------------------------------------------------------- */

/* Index 2 is the datagram, 3 and 4 the address, 5 the deadline. */
enum { UNTIL = 5 };

static int send_k(lua_State *L, int status, lua_KContext ctx);

static int send_failed(lua_State *L, int err) {
  if (err != EPIPE) return grb_fail(L, err);
  lua_pushnil(L);
  lua_pushliteral(L, "refused");
  return 2;
}

/* What most addresses are: quickly. */
static bool plain(lua_State *L, int family, struct grb_address *a) {
  struct sockaddr_in *in = (struct sockaddr_in *)&a->addr;
  struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->addr;
  const char *host = lua_tostring(L, 3);
  lua_Integer port = lua_isinteger(L, 4) ? lua_tointeger(L, 4) : -1;
  if (port < 0 || port > UINT16_MAX) return false;
  in_port_t its = htons((uint16_t)port);
  if (family != AF_INET6) {
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = its};
    a->len = sizeof *in;
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) return true;
  }
  *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = its};
  a->len = sizeof *in6;
  return family != AF_INET && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
}

/* The address that 3 and 4 mean, which nobody is asked for; or a message. */
static const char *numeric(lua_State *L, grb_socket *s, struct grb_address *a) {
  struct addrinfo hints = {.ai_family = s->family,
                           .ai_socktype = SOCK_DGRAM,
                           .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
  struct addrinfo *list = NULL;
  if (plain(L, s->family, a)) return NULL;
  int err = getaddrinfo(lua_tostring(L, 3), lua_tostring(L, 4), &hints, &list);
  if (err) return gai_strerror(err);
  a->len = list->ai_addrlen;
  memcpy(&a->addr, list->ai_addr, a->len);
  freeaddrinfo(list);
  return NULL;
}

static const char *target(lua_State *L, grb_socket *s, struct grb_address *a) {
  size_t len;
  if (s->family != AF_UNIX) return numeric(L, s, a);
  const char *path = lua_tolstring(L, 3, &len);
  return grb_unix_address(path, len, a) ? NULL : "path too long";
}

static ssize_t put(lua_State *L, int fd, const struct grb_address *to) {
  size_t size;
  ssize_t n;
  const char *data = lua_tolstring(L, 2, &size);
  do
    n = to ? sendto(fd, data, size, MSG_NOSIGNAL,
                    (const struct sockaddr *)&to->addr, to->len)
           : send(fd, data, size, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? -errno : n;
}

/* Wait until there is room.  Whether there is any in a UNIX socket that is not
 * our peer nothing tells: look again soon. */
static int send_later(lua_State *L, gr_state *S, grb_socket *s,
                      lua_KContext ctx) {
  double at = lua_tonumber(L, UNTIL);
  bool blind = s->family == AF_UNIX && ctx == ADDRESS;
  if (blind) at = fmin(at, gr_hub_now(&S->hub) + 2e-3);
  gr_can_block(L, S, at);
  if (!blind) gr_io_await(&s->stream.writes);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, ctx == ADDRESS ? &to_wait : &send_wait, !blind, ctx,
                 send_k);
}

static int send_on(lua_State *L, gr_state *S, grb_socket *s, lua_KContext ctx,
                   bool last) {
  struct grb_address to;
  const char *message = ctx == ADDRESS ? target(L, s, &to) : NULL;
  if (message) {
    lua_pushnil(L);
    lua_pushstring(L, message);
    return 2;
  }
  int err = 0;
  if (s->family == AF_UNSPEC && grb_fd(s) < 0 && ctx == ADDRESS)
    err = grb_open_fd(s, to.addr.ss_family);
  if (err) return grb_fail(L, err);
  if (grb_fd(s) < 0) return send_failed(L, EPIPE);
  ssize_t n = put(L, grb_fd(s), ctx == ADDRESS ? &to : NULL);
  if (n >= 0) {
    lua_pushinteger(L, n);
    return 1;
  }
  if (n != -EAGAIN) return send_failed(L, (int)-n);
  if (!last) return send_later(L, S, s, ctx);
  if (grb_gives_way(L, S, true)) return grb_give_way(L, S, ctx, send_k);
  return grb_fail(L, ETIMEDOUT);
}

static int send_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, send_k);
  grb_socket *s = lua_touserdata(L, 1);
  if (how == GR_CLOSED || (grb_fd(s) < 0 && s->family == AF_UNIX))
    return grb_fail(L, 0);
  bool late =
      how == GR_TIMEDOUT && gr_hub_now(&S->hub) >= lua_tonumber(L, UNTIL);
  return send_on(L, S, s, ctx, late || grb_polls(s));
}

static int start_send(lua_State *L, grb_socket *s, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  lua_settop(L, 4);
  grb_begin(s, GRB_WRITE);
  lua_pushnumber(L, grb_deadline(s, GRB_WRITE));
  if (grb_gives_way(L, S, false)) return grb_give_way(L, S, ctx, send_k);
  return send_on(L, S, s, ctx, grb_polls(s));
}

/* send(datagram) -> size | nil, message */
static int send_data(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CONNECTED);
  luaL_checkstring(L, 2);
  return start_send(L, s, PEER);
}

/* sendto(datagram, host, port), sendto(datagram, path) -> size | nil, message
 */
static int send_to(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_UNCONNECTED);
  luaL_checkstring(L, 2);
  luaL_checkstring(L, 3);
  if (s->family != AF_UNIX && !lua_isinteger(L, 4)) luaL_checkstring(L, 4);
  return start_send(L, s, ADDRESS);
}

/* --- names -------------------------------------------------------------- */

static int one(lua_State *L) {
  lua_pushinteger(L, 1);
  return 1;
}

static int fail_with(lua_State *L) { /* the message is on top of the stack */
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int connect_to(lua_State *L, gr_state *S, grb_socket *s,
                      grb_addresses *list) {
  int err = EADDRNOTAVAIL;
  (void)S;
  if (!list) return fail_with(L);
  for (int i = 0; i < list->count; i++) {
    const struct grb_address *a = &list->at[i];
    err = grb_have_fd(s, a->addr.ss_family);
    if (err) continue;
    if (!connect(grb_fd(s), (const struct sockaddr *)&a->addr, a->len)) {
      grb_set_class(L, 1, GRB_CONNECTED);
      return one(L);
    }
    err = errno;
  }
  if (s->family == AF_UNIX) gr_stream_close(&s->stream);
  return grb_fail(L, err);
}

/* Some systems answer with an error though it is done. */
static int disconnect(lua_State *L, grb_socket *s) {
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  if (grb_fd(s) >= 0) (void)connect(grb_fd(s), &nobody, sizeof nobody);
  grb_set_class(L, 1, GRB_UNCONNECTED);
  return one(L);
}

/* setpeername(host, port), setpeername("*") -> 1 | nil, message */
static int set_peer_name(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_DATAGRAM);
  const char *host = luaL_checkstring(L, 2);
  if (!strcmp(host, "*")) return disconnect(L, s);
  luaL_checkstring(L, 3);
  grb_begin(s, GRB_WRITE);
  return grb_resolve(L, gr_state_of(L), s, false, connect_to);
}

/* setsockname(host, port) -> 1 | nil, message */
static int set_sock_name(lua_State *L) {
  return grb_bind(L, grb_check(L, GRB_UNCONNECTED));
}

/* connect(path) -> 1 | nil, message */
static int connect_path(lua_State *L) {
  size_t len;
  grb_socket *s = grb_check(L, GRB_DATAGRAM);
  const char *path = luaL_checklstring(L, 2, &len);
  grb_addresses *list =
      lua_newuserdatauv(L, sizeof *list + sizeof *list->at, 0);
  list->count = 1;
  if (grb_unix_address(path, len, list->at))
    return connect_to(L, gr_state_of(L), s, list);
  lua_pushliteral(L, "path too long");
  return fail_with(L);
}

/* Nothing is ever buffered. */
static int dirty(lua_State *L) {
  grb_check(L, GRB_DATAGRAM);
  lua_pushboolean(L, 0);
  return 1;
}

/* --- the module --------------------------------------------------------- */

static int udp(lua_State *L) {
  return grb_make(L, GRB_UNCONNECTED, AF_UNSPEC);
}

static int udp4(lua_State *L) {
  return grb_make(L, GRB_UNCONNECTED, AF_INET);
}

static int udp6(lua_State *L) {
  return grb_make(L, GRB_UNCONNECTED, AF_INET6);
}

static int unix_dgram(lua_State *L) {
  return grb_make(L, GRB_UNCONNECTED, AF_UNIX);
}

const luaL_Reg grb_datagram_methods[] = {{"receive", receive},
                                         {"receivefrom", receive_from},
                                         {"send", send_data},
                                         {"sendto", send_to},
                                         {"setpeername", set_peer_name},
                                         {"setsockname", set_sock_name},
                                         {"dirty", dirty},
                                         {NULL, NULL}};

/* Added to those, or in place of them. */
const luaL_Reg grb_unixdgram_methods[] = {{"bind", set_sock_name},
                                          {"connect", connect_path},
                                          {"setpeername", connect_path},
                                          {NULL, NULL}};

const luaL_Reg grb_datagram_funcs[] = {{"udp", udp},
                                       {"udp4", udp4},
                                       {"udp6", udp6},
                                       {"unixdgram", unix_dgram},
                                       {NULL, NULL}};
