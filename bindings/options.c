/* getoption and setoption, under LuaSocket's names. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "socket.h"

typedef struct option {
  const char *name;
  int level, number;
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
    {"bindtodevice", SOL_SOCKET, SO_BINDTODEVICE, get_device, set_device},
    {"coalesce", 0, 0, get_coalesce, set_coalesce},
    {"error", SOL_SOCKET, SO_ERROR, get_error, NULL},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, BOOLEAN},
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, BOOLEAN},
    {"linger", SOL_SOCKET, SO_LINGER, get_linger, set_linger},
    {"recv-buffer-size", SOL_SOCKET, SO_RCVBUF, INTEGER},
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, BOOLEAN},
    {"reuseport", SOL_SOCKET, SO_REUSEPORT, BOOLEAN},
    {"send-buffer-size", SOL_SOCKET, SO_SNDBUF, INTEGER},
    {"tcp-defer-accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, INTEGER},
    {"tcp-fastopen", IPPROTO_TCP, TCP_FASTOPEN, INTEGER},
    {"tcp-fastopen-connect", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, INTEGER},
    {"tcp-keepcnt", IPPROTO_TCP, TCP_KEEPCNT, INTEGER},
    {"tcp-keepidle", IPPROTO_TCP, TCP_KEEPIDLE, INTEGER},
    {"tcp-keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, INTEGER},
    {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY, get_boolean, set_nodelay},
    {NULL, 0, 0, NULL, NULL}};

static const option *find(lua_State *L) {
  const char *name = luaL_checkstring(L, 2);
  const option *o = options;
  while (o->name && strcmp(o->name, name)) o++;
  return o;
}

static int unsupported(lua_State *L) {
  const char *message =
      lua_pushfstring(L, "unsupported option `%s'", lua_tostring(L, 2));
  return luaL_argerror(L, 2, message);
}

/* getoption(name) -> value | nil, message */
static int get_option(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  const option *o = find(L);
  return o->get ? o->get(L, s, o) : unsupported(L);
}

/* setoption(name, value) -> 1 | nil, message */
static int set_option(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  const option *o = find(L);
  return o->set ? o->set(L, s, o) : unsupported(L);
}

const luaL_Reg grb_option_methods[] = {
    {"getoption", get_option}, {"setoption", set_option}, {NULL, NULL}};
