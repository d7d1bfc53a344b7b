/* getoption and setoption, under LuaSocket's names. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "socket.h"

/* Whose options they are. */
enum { STREAM = 1, DATAGRAM = 2, BOTH = 3 };

typedef struct option {
  const char *name;
  int whose, level, number;
  int (*get)(lua_State *, grb_socket *, const struct option *);
  int (*set)(lua_State *, grb_socket *, const struct option *);
} option;

/* --- kinds of values ---------------------------------------------------- */

static int get_failed(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "getsockopt failed");
  return 2;
}

static int set(lua_State *L, grb_socket *s, const option *o, const void *value,
               socklen_t size) {
  if (!setsockopt(grb_fd(s), o->level, o->number, value, size)) {
    lua_pushinteger(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushliteral(L, "setsockopt failed");
  return 2;
}

static bool get(grb_socket *s, const option *o, int *value) {
  socklen_t size = sizeof *value;
  return !getsockopt(grb_fd(s), o->level, o->number, value, &size);
}

static int get_boolean(lua_State *L, grb_socket *s, const option *o) {
  int value = 0;
  if (!get(s, o, &value)) return get_failed(L);
  lua_pushboolean(L, value);
  return 1;
}

static int check_boolean(lua_State *L) {
  luaL_checktype(L, 3, LUA_TBOOLEAN);
  return lua_toboolean(L, 3);
}

static int set_boolean(lua_State *L, grb_socket *s, const option *o) {
  int value = check_boolean(L);
  return set(L, s, o, &value, sizeof value);
}

static int get_integer(lua_State *L, grb_socket *s, const option *o) {
  int value = 0;
  if (!get(s, o, &value)) return get_failed(L);
  lua_pushinteger(L, value);
  return 1;
}

static int set_integer(lua_State *L, grb_socket *s, const option *o) {
  int value = (int)luaL_checknumber(L, 3);
  return set(L, s, o, &value, sizeof value);
}

static int get_linger(lua_State *L, grb_socket *s, const option *o) {
  struct linger value = {0, 0};
  socklen_t size = sizeof value;
  if (getsockopt(grb_fd(s), o->level, o->number, &value, &size))
    return get_failed(L);
  lua_createtable(L, 0, 2);
  lua_pushboolean(L, value.l_onoff);
  lua_setfield(L, -2, "on");
  lua_pushinteger(L, value.l_linger);
  lua_setfield(L, -2, "timeout");
  return 1;
}

static int set_linger(lua_State *L, grb_socket *s, const option *o) {
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_argcheck(L, lua_getfield(L, 3, "on") == LUA_TBOOLEAN, 3,
                "boolean 'on' field expected");
  lua_getfield(L, 3, "timeout");
  luaL_argcheck(L, lua_isnumber(L, -1), 3, "number 'timeout' field expected");
  struct linger value = {lua_toboolean(L, -2), (int)lua_tonumber(L, -1)};
  return set(L, s, o, &value, sizeof value);
}

static int get_device(lua_State *L, grb_socket *s, const option *o) {
  char name[IFNAMSIZ] = "";
  socklen_t size = sizeof name;
  if (getsockopt(grb_fd(s), o->level, o->number, name, &size))
    return get_failed(L);
  lua_pushstring(L, name);
  return 1;
}

static int set_device(lua_State *L, grb_socket *s, const option *o) {
  const char *name = luaL_checkstring(L, 3);
  return set(L, s, o, name, (socklen_t)strlen(name) + 1);
}

/* The address of an interface; "*" is none in particular. */
static struct in_addr check_interface(lua_State *L, const char *number,
                                      const char *message) {
  struct in_addr value = {htonl(INADDR_ANY)};
  luaL_argcheck(L, !strcmp(number, "*") || inet_aton(number, &value), 3,
                message);
  return value;
}

static int get_interface(lua_State *L, grb_socket *s, const option *o) {
  struct in_addr value;
  socklen_t size = sizeof value;
  char number[INET_ADDRSTRLEN] = "";
  if (getsockopt(grb_fd(s), o->level, o->number, &value, &size))
    return get_failed(L);
  lua_pushstring(L, inet_ntop(AF_INET, &value, number, sizeof number));
  return 1;
}

static int set_interface(lua_State *L, grb_socket *s, const option *o) {
  struct in_addr value =
      check_interface(L, luaL_checkstring(L, 3), "ip expected");
  return set(L, s, o, &value, sizeof value);
}

/* A string field of the table at index 3; it stays on the stack. */
static const char *check_field(lua_State *L, const char *name,
                               const char *message) {
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_getfield(L, 3, name);
  luaL_argcheck(L, lua_isstring(L, -1), 3, message);
  return lua_tostring(L, -1);
}

static int set_membership(lua_State *L, grb_socket *s, const option *o) {
  struct ip_mreq value;
  const char *group =
      check_field(L, "multiaddr", "string 'multiaddr' field expected");
  luaL_argcheck(L, inet_aton(group, &value.imr_multiaddr), 3,
                "invalid 'multiaddr' ip address");
  value.imr_interface = check_interface(
      L, check_field(L, "interface", "string 'interface' field expected"),
      "invalid 'interface' ip address");
  return set(L, s, o, &value, sizeof value);
}

static int set_membership6(lua_State *L, grb_socket *s, const option *o) {
  struct ipv6_mreq value = {.ipv6mr_interface = 0};
  const char *group =
      check_field(L, "multiaddr", "string 'multiaddr' field expected");
  luaL_argcheck(L, inet_pton(AF_INET6, group, &value.ipv6mr_multiaddr) == 1, 3,
                "invalid 'multiaddr' ip address");
  if (lua_getfield(L, 3, "interface") != LUA_TNIL) {
    luaL_argcheck(L, lua_isnumber(L, -1), 3,
                  "number 'interface' field expected");
    value.ipv6mr_interface = (unsigned)lua_tonumber(L, -1);
  }
  return set(L, s, o, &value, sizeof value);
}

/* The error of a connect or a write, as its message; nil for none. */
static int get_error(lua_State *L, grb_socket *s, const option *o) {
  int err = 0;
  if (!get(s, o, &err)) return get_failed(L);
  if (err)
    lua_pushstring(L, grb_message(err));
  else
    lua_pushnil(L);
  return 1;
}

static int set_nodelay(lua_State *L, grb_socket *s, const option *o) {
  s->delays = !check_boolean(L);
  s->passes = 0;
  return set_boolean(L, s, o);
}

static int get_coalesce(lua_State *L, grb_socket *s, const option *o) {
  (void)o;
  lua_pushboolean(L, !s->stream.eager);
  return 1;
}

static int set_coalesce(lua_State *L, grb_socket *s, const option *o) {
  (void)o;
  s->stream.eager = !check_boolean(L);
  if (s->stream.eager && grb_fd(s) >= 0) gr_stream_flush(&s->stream);
  lua_pushinteger(L, 1);
  return 1;
}

/* --- the options -------------------------------------------------------- */

#define BOOLEAN get_boolean, set_boolean
#define INTEGER get_integer, set_integer

static const option options[] = {
    {"bindtodevice", BOTH, SOL_SOCKET, SO_BINDTODEVICE, get_device, set_device},
    {"broadcast", DATAGRAM, SOL_SOCKET, SO_BROADCAST, BOOLEAN},
    {"coalesce", STREAM, 0, 0, get_coalesce, set_coalesce},
    {"dontroute", DATAGRAM, SOL_SOCKET, SO_DONTROUTE, BOOLEAN},
    {"error", BOTH, SOL_SOCKET, SO_ERROR, get_error, NULL},
    {"ip-add-membership", DATAGRAM, IPPROTO_IP, IP_ADD_MEMBERSHIP, NULL,
     set_membership},
    {"ip-drop-membership", DATAGRAM, IPPROTO_IP, IP_DROP_MEMBERSHIP, NULL,
     set_membership},
    {"ip-multicast-if", DATAGRAM, IPPROTO_IP, IP_MULTICAST_IF, get_interface,
     set_interface},
    {"ip-multicast-loop", DATAGRAM, IPPROTO_IP, IP_MULTICAST_LOOP, BOOLEAN},
    {"ip-multicast-ttl", DATAGRAM, IPPROTO_IP, IP_MULTICAST_TTL, INTEGER},
    {"ipv6-add-membership", DATAGRAM, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, NULL,
     set_membership6},
    {"ipv6-drop-membership", DATAGRAM, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, NULL,
     set_membership6},
    {"ipv6-multicast-hops", DATAGRAM, IPPROTO_IPV6, IPV6_MULTICAST_HOPS,
     INTEGER},
    {"ipv6-multicast-loop", DATAGRAM, IPPROTO_IPV6, IPV6_MULTICAST_LOOP,
     BOOLEAN},
    {"ipv6-unicast-hops", DATAGRAM, IPPROTO_IPV6, IPV6_UNICAST_HOPS, INTEGER},
    {"ipv6-v6only", BOTH, IPPROTO_IPV6, IPV6_V6ONLY, BOOLEAN},
    {"keepalive", STREAM, SOL_SOCKET, SO_KEEPALIVE, BOOLEAN},
    {"linger", STREAM, SOL_SOCKET, SO_LINGER, get_linger, set_linger},
    {"recv-buffer-size", BOTH, SOL_SOCKET, SO_RCVBUF, INTEGER},
    {"reuseaddr", BOTH, SOL_SOCKET, SO_REUSEADDR, BOOLEAN},
    {"reuseport", BOTH, SOL_SOCKET, SO_REUSEPORT, BOOLEAN},
    {"send-buffer-size", BOTH, SOL_SOCKET, SO_SNDBUF, INTEGER},
    {"tcp-defer-accept", STREAM, IPPROTO_TCP, TCP_DEFER_ACCEPT, INTEGER},
    {"tcp-fastopen", STREAM, IPPROTO_TCP, TCP_FASTOPEN, INTEGER},
    {"tcp-fastopen-connect", STREAM, IPPROTO_TCP, TCP_FASTOPEN_CONNECT,
     INTEGER},
    {"tcp-keepcnt", STREAM, IPPROTO_TCP, TCP_KEEPCNT, INTEGER},
    {"tcp-keepidle", STREAM, IPPROTO_TCP, TCP_KEEPIDLE, INTEGER},
    {"tcp-keepintvl", STREAM, IPPROTO_TCP, TCP_KEEPINTVL, INTEGER},
    {"tcp-nodelay", STREAM, IPPROTO_TCP, TCP_NODELAY, get_boolean, set_nodelay},
    {NULL, BOTH, 0, 0, NULL, NULL}};

static const option *find(lua_State *L, const grb_socket *s) {
  const char *name = luaL_checkstring(L, 2);
  const option *o = options;
  int whose = grb_is_datagram(s) ? DATAGRAM : STREAM;
  while (o->name && (strcmp(o->name, name) || !(o->whose & whose))) o++;
  return o;
}

static int unsupported(lua_State *L) {
  enum { MOST = 35 }; /* characters of its name */
  size_t n;
  const char *name = lua_tolstring(L, 2, &n);
  name = lua_pushlstring(L, name, n < MOST ? n : MOST);
  return luaL_argerror(L, 2,
                       lua_pushfstring(L, "unsupported option `%s'", name));
}

/* getoption(name) -> value | nil, message */
static int get_option(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  const option *o = find(L, s);
  return o->get ? o->get(L, s, o) : unsupported(L);
}

/* setoption(name, value) -> 1 | nil, message */
static int set_option(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  const option *o = find(L, s);
  return o->set ? o->set(L, s, o) : unsupported(L);
}

const luaL_Reg grb_option_methods[] = {
    {"getoption", get_option}, {"setoption", set_option}, {NULL, NULL}};
