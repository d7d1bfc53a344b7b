/* Names and addresses: what a host means, and what a socket has. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "resolver/resolve.h"
#include "socket.h"

enum { MOST = 32 }; /* addresses of a name that are tried */

enum { SOCKET = 1, HOST, PORT, FOUND }; /* on the stack */

static const gr_wait resolve_wait = {.name = "resolve"};

/* --- resolving ---------------------------------------------------------- */

static grb_addresses *push_list(lua_State *L, int room) {
  size_t size =
      sizeof(grb_addresses) + (size_t)room * sizeof(struct grb_address);
  grb_addresses *list = lua_newuserdatauv(L, size, 0);
  return memset(list, 0, size);
}

static const char *no_such(int status) {
  switch (status) {
  case EAI_SERVICE:
    return "service not supported for socket type";
  case EAI_ADDRFAMILY:
    return "Address family for hostname not supported";
  case EAI_MEMORY:
    return "memory allocation failure";
  default:
    return gr_lookup_message(GR_DNS_NXDOMAIN);
  }
}

/* Add what a number (NULL: any address) and the port mean, as far as there is
 * room: 0, or getaddrinfo's answer.  It asks nobody. */
static int add_number(grb_addresses *list, int room, const char *number,
                      const char *port, int family, bool passive) {
  struct addrinfo hints = {.ai_family = family,
                           .ai_socktype = SOCK_STREAM,
                           .ai_flags =
                               AI_NUMERICHOST | (passive ? AI_PASSIVE : 0)};
  struct addrinfo *found = NULL;
  int status = getaddrinfo(number, port, &hints, &found);
  if (status) return status;
  for (struct addrinfo *a = found; a && list->count < room; a = a->ai_next) {
    struct grb_address *to = &list->at[list->count++];
    to->len = a->ai_addrlen;
    memcpy(&to->addr, a->ai_addr, a->ai_addrlen);
  }
  freeaddrinfo(found);
  return 0;
}

/* -1: there is no such service. */
static int port_number(const char *port) {
  char *end;
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  unsigned long n = strtoul(port, &end, 10);
  if (*port >= '0' && *port <= '9' && !*end) return (int)(n & 0xffff);
  if (getaddrinfo(NULL, port, &hints, &found)) return -1;
  const void *a = found->ai_addr;
  int number = ntohs(((const struct sockaddr_in *)a)->sin_port);
  freeaddrinfo(found);
  return number;
}

/* Nothing has been found: call `next` with the message. */
static int give_up(lua_State *L, grb_found *next, const char *message) {
  lua_pushstring(L, message);
  return next(L, gr_state_of(L), lua_touserdata(L, SOCKET), NULL);
}

/* Put the addresses in the lookup's place. */
static int give(lua_State *L, gr_resolving *x, grb_found *next) {
  gr_lookup *l = &x->lookup;
  int port = port_number(lua_tostring(L, PORT));
  if (l->status) return give_up(L, next, gr_lookup_message(l->status));
  if (port < 0) return give_up(L, next, no_such(EAI_SERVICE));
  int n = l->found.count < MOST ? (int)l->found.count : MOST;
  grb_addresses *list = push_list(L, n);
  for (; list->count < n; list->count++) {
    struct grb_address *to = &list->at[list->count];
    to->len = gr_address_with_port(&l->found.at[list->count], (unsigned)port,
                                   &to->addr);
  }
  lua_closeslot(L, FOUND);
  lua_replace(L, FOUND);
  return next(L, gr_state_of(L), lua_touserdata(L, SOCKET), list);
}

static int await(lua_State *L, gr_state *S, grb_socket *s, gr_resolving *x,
                 grb_found *next);

static int resolve_k(lua_State *L, int status, lua_KContext next) {
  gr_state *S = gr_state_of(L);
  grb_socket *s = lua_touserdata(L, SOCKET);
  gr_resolving *x = lua_touserdata(L, FOUND);
  (void)status;
  int how = gr_woken(L, S, next, resolve_k);
  if (!s->resolving) return grb_fail(L, 0);
  s->resolving = false;
  if (how == GR_TIMEDOUT) return grb_fail(L, ETIMEDOUT);
  if (!x->ended) return await(L, S, s, x, (grb_found *)next);
  return give(L, x, (grb_found *)next);
}

/* As a writer of the socket: nobody else may be one meanwhile.  A socket that
 * never waits waits here, as LuaSocket's do. */
static int await(lua_State *L, gr_state *S, grb_socket *s, gr_resolving *x,
                 grb_found *next) {
  double at = grb_polls(s) ? INFINITY : grb_deadline(s, GRB_WRITE);
  grb_check_free(L, S, s, GRB_WRITE, &resolve_wait);
  gr_greenlet *me = gr_can_block(L, S, at);
  s->resolving = true;
  gr_list_append(&s->stream.writes.waiters, &me->w.node);
  gr_resolving_await(S, x);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &resolve_wait, true, (lua_KContext)next, resolve_k);
}

/* Not a number: a name. */
static int resolve(lua_State *L, gr_state *S, grb_socket *s, grb_found *next) {
  size_t len;
  const char *host = lua_tolstring(L, HOST, &len);
  gr_resolver *r = gr_check_resolver(L, S);
  gr_resolving *x = gr_resolving_push(L, S, r);
  if (gr_lookup_start(&x->lookup, r, host, len, s->family))
    return give(L, x, next);
  return await(L, S, s, x, next);
}

int grb_resolve(lua_State *L, gr_state *S, grb_socket *s, bool passive,
                grb_found *next) {
  size_t len;
  const char *host = luaL_checklstring(L, HOST, &len);
  const char *port = luaL_checkstring(L, PORT);
  bool any = passive && len == 1 && *host == '*';
  int room = any ? MOST : 1, status = EAI_NONAME;
  lua_settop(L, PORT);
  grb_addresses *list = push_list(L, room);
  if (any || (len == strlen(host) && gr_address_numeric(host)))
    status =
        add_number(list, room, any ? NULL : host, port, s->family, passive);
  if (!status) return next(L, S, s, list);
  if (any || status != EAI_NONAME) return give_up(L, next, no_such(status));
  lua_settop(L, PORT);
  return resolve(L, S, s, next);
}

void grb_stop_resolving(grb_socket *s) {
  if (!s->resolving) return;
  s->resolving = false;
  gr_wake_all(gr_stream_hub(&s->stream), &s->stream.writes.waiters, GR_CLOSED);
}

bool grb_unix_address(const char *path, size_t len, struct grb_address *a) {
  struct sockaddr_un *un = (struct sockaddr_un *)&a->addr;
  if (len >= sizeof un->sun_path) return false;
  memset(un, 0, sizeof *un);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, len);
  a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
  return true;
}

static const char *family_name(int family) {
  switch (family) {
  case AF_INET:
    return "inet";
  case AF_INET6:
    return "inet6";
  case AF_UNSPEC:
    return "unspec";
  default:
    return "unknown";
  }
}

static void push_number(lua_State *L, const struct grb_address *a) {
  char host[NI_MAXHOST] = "";
  getnameinfo((const struct sockaddr *)&a->addr, a->len, host, sizeof host,
              NULL, 0, NI_NUMERICHOST);
  lua_pushstring(L, host);
}

/* --- of a socket -------------------------------------------------------- */

static int push_path(lua_State *L, const struct grb_address *a) {
  const struct sockaddr_un *un = (const struct sockaddr_un *)&a->addr;
  size_t n = a->len, head = offsetof(struct sockaddr_un, sun_path);
  n = n > head ? n - head : 0;
  /* An abstract one begins with a zero, the others end with one. */
  if (n && un->sun_path[0]) n = strnlen(un->sun_path, n);
  lua_pushlstring(L, un->sun_path, n);
  return 1;
}

/* IPv6 without a scope, and IPv4: no need to ask the C library for more. */
static bool push_plain(lua_State *L, const struct grb_address *a) {
  const struct sockaddr_in *in = (const struct sockaddr_in *)&a->addr;
  const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->addr;
  char host[INET6_ADDRSTRLEN] = "";
  bool six = a->addr.ss_family == AF_INET6;
  if (six ? in6->sin6_scope_id : a->addr.ss_family != AF_INET) return false;
  const void *from = six ? (const void *)&in6->sin6_addr : &in->sin_addr;
  lua_pushstring(L, inet_ntop(a->addr.ss_family, from, host, sizeof host));
  lua_pushinteger(L, ntohs(six ? in6->sin6_port : in->sin_port));
  return true;
}

int grb_push_address(lua_State *L, const struct grb_address *a) {
  char port[NI_MAXSERV] = "";
  if (a->addr.ss_family == AF_UNIX) return push_path(L, a);
  if (push_plain(L, a)) return 2;
  push_number(L, a);
  getnameinfo((const struct sockaddr *)&a->addr, a->len, NULL, 0, port,
              sizeof port, NI_NUMERICSERV);
  lua_pushinteger(L, strtol(port, NULL, 10));
  return 2;
}

static int push_name(lua_State *L, grb_socket *s, const struct grb_address *a) {
  int n = grb_push_address(L, a);
  if (s->family == AF_UNIX) return n;
  lua_pushstring(L, family_name(s->family));
  return n + 1;
}

/* getpeername() -> address, port, family | path | nil, message */
static int get_peer_name(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  if (grb_is_datagram(s)) grb_check(L, GRB_CONNECTED);
  struct grb_address a = {.len = sizeof a.addr};
  if (getpeername(grb_fd(s), (struct sockaddr *)&a.addr, &a.len))
    return grb_fail(L, errno);
  return push_name(L, s, &a);
}

static int get_sock_name(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  struct grb_address a = {.len = sizeof a.addr};
  if (getsockname(grb_fd(s), (struct sockaddr *)&a.addr, &a.len))
    return grb_fail(L, errno);
  return push_name(L, s, &a);
}

static int get_family(lua_State *L) {
  int family = grb_check(L, GRB_ANY)->family;
  lua_pushstring(L, family == AF_INET6  ? "inet6"
                    : family == AF_UNIX ? "unix"
                                        : "inet4");
  return 1;
}

const luaL_Reg grb_address_methods[] = {{"getpeername", get_peer_name},
                                        {"getsockname", get_sock_name},
                                        {"getfamily", get_family},
                                        {NULL, NULL}};
