/* Names and addresses: numbers, the hosts file, and what a socket has. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "socket.h"

enum { MOST = 16 }; /* addresses of a name */

static const char *const unknown = "host or service not provided, or not known";

/* --- resolving ---------------------------------------------------------- */

typedef struct query {
  const char *name, *port;
  int family, flags;
  grb_addresses *found;
} query;

/* Add what a numeric address and the port mean: 0, or getaddrinfo's answer.
 * With AI_NUMERICHOST it asks nobody. */
static int add(query *q, const char *number) {
  struct addrinfo hints = {.ai_family = q->family,
                           .ai_socktype = SOCK_STREAM,
                           .ai_flags = q->flags | AI_NUMERICHOST};
  struct addrinfo *list = NULL;
  int status = getaddrinfo(number, q->port, &hints, &list);
  if (status) return status;
  for (struct addrinfo *a = list; a; a = a->ai_next) {
    if (q->found->count == MOST) break;
    struct grb_address *to = &q->found->at[q->found->count++];
    to->len = a->ai_addrlen;
    memcpy(&to->addr, a->ai_addr, a->ai_addrlen);
  }
  freeaddrinfo(list);
  return 0;
}

/* A line of the hosts file: an address, and its names. */
static void look_at(query *q, char *line) {
  char *rest, *word;
  line[strcspn(line, "#\n")] = 0;
  const char *number = strtok_r(line, " \t", &rest);
  if (!number) return;
  while ((word = strtok_r(NULL, " \t", &rest)))
    if (!strcasecmp(word, q->name)) {
      add(q, number);
      return;
    }
}

static void look_in_hosts(query *q) {
  char *line = NULL;
  size_t room = 0;
  FILE *file = fopen("/etc/hosts", "re");
  if (!file) return;
  while (getline(&line, &room, file) >= 0) look_at(q, line);
  free(line);
  fclose(file);
}

/* IPv6 before IPv4, otherwise as they came, each once. */
static void arrange(grb_addresses *list) {
  grb_addresses *to = list;
  struct grb_address from[MOST];
  int n = list->count;
  memcpy(from, list->at, sizeof from);
  to->count = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n; i++) {
      bool six = from[i].addr.ss_family == AF_INET6, seen = false;
      if (six == (bool)pass) continue;
      for (int k = 0; k < to->count; k++)
        seen = seen || (to->at[k].len == from[i].len &&
                        !memcmp(&to->at[k].addr, &from[i].addr, from[i].len));
      if (!seen) to->at[to->count++] = from[i];
    }
}

/* A name that is in no hosts file: this machine knows itself. */
static void look_for_localhost(query *q) {
  if (strcasecmp(q->name, "localhost")) return;
  add(q, "::1");
  add(q, "127.0.0.1");
}

static const char *no_such(int status) {
  return status == EAI_SERVICE  ? "service not supported for socket type"
         : status == EAI_MEMORY ? "memory allocation failure"
                                : unknown;
}

static const char *resolve(query *q) {
  int status = add(q, q->name);
  if (!status || !q->name) return status ? no_such(status) : NULL;
  if (status != EAI_NONAME) return no_such(status);
  look_in_hosts(q);
  if (!q->found->count) look_for_localhost(q);
  arrange(q->found);
  return q->found->count ? NULL : unknown;
}

grb_addresses *grb_resolve(lua_State *L, const char *host, const char *port,
                           int family, bool passive) {
  grb_addresses *found =
      lua_newuserdatauv(L, sizeof *found + MOST * sizeof *found->at, 0);
  memset(found, 0, sizeof *found + MOST * sizeof *found->at);
  bool any = passive && !strcmp(host, "*");
  query q = {.name = any ? NULL : host,
             .port = port,
             .family = family,
             .flags = passive ? AI_PASSIVE : 0,
             .found = found};
  const char *message = resolve(&q);
  if (!message) return found;
  lua_pushstring(L, message);
  return NULL;
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

/* resolve(host) -> {{family =, addr =}, ...} | nil, message */
static int resolve_name(lua_State *L) {
  grb_addresses *found =
      grb_resolve(L, luaL_checkstring(L, 1), "0", AF_UNSPEC, false);
  if (!found) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  lua_createtable(L, found->count, 0);
  for (int i = 0; i < found->count; i++) {
    lua_createtable(L, 0, 2);
    lua_pushstring(L, family_name(found->at[i].addr.ss_family));
    lua_setfield(L, -2, "family");
    push_number(L, &found->at[i]);
    lua_setfield(L, -2, "addr");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
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

const luaL_Reg grb_address_funcs[] = {{"resolve", resolve_name}, {NULL, NULL}};
