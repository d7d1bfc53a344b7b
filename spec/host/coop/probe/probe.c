/* coop_probe: what its files share, and the module. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

int probe_failed(lua_State *L) {
  lua_pushnil(L);
  lua_pushstring(L, strerrorname_np(errno));
  return 2;
}

int probe_answer(lua_State *L, ssize_t n) {
  if (n < 0) return probe_failed(L);
  lua_pushinteger(L, n);
  return 1;
}

int probe_data(lua_State *L, const char *buffer, ssize_t n) {
  if (n < 0) return probe_failed(L);
  lua_pushlstring(L, buffer, (size_t)n);
  return 1;
}

int probe_fd(lua_State *L) {
  return (int)luaL_checkinteger(L, 1);
}

struct timespec probe_time(double seconds) {
  struct timespec t = {.tv_sec = (time_t)seconds};
  t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
  return t;
}

socklen_t probe_address_of(lua_State *L, int arg, int six, probe_address *a) {
  memset(a, 0, sizeof *a);
  if (lua_type(L, arg) == LUA_TSTRING) {
    a->un.sun_family = AF_UNIX;
    strncpy(a->un.sun_path, lua_tostring(L, arg), sizeof a->un.sun_path - 1);
    return sizeof a->un;
  }
  in_port_t port = htons((in_port_t)luaL_checkinteger(L, arg));
  if (six) {
    a->in6.sin6_family = AF_INET6;
    a->in6.sin6_port = port;
    a->in6.sin6_addr = in6addr_loopback;
    return sizeof a->in6;
  }
  a->in.sin_family = AF_INET;
  a->in.sin_port = port;
  a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return sizeof a->in;
}

int luaopen_coop_probe(lua_State *L);

__attribute__((visibility("default"))) int luaopen_coop_probe(lua_State *L) {
  static const struct {
    const char *name;
    int value;
  } numbers[] = {{"IN", POLLIN},
                 {"OUT", POLLOUT},
                 {"PRI", POLLPRI},
                 {"HUP", POLLHUP},
                 {"ERR", POLLERR},
                 {"NVAL", POLLNVAL},
                 {"RDHUP", POLLRDHUP},
                 {"WAITALL", MSG_WAITALL},
                 {"PEEK", MSG_PEEK},
                 {"OOB", MSG_OOB},
                 {"DONTWAIT", MSG_DONTWAIT},
                 {"NOSIGNAL", MSG_NOSIGNAL}};
  lua_newtable(L);
  luaL_setfuncs(L, probe_descriptors, 0);
  luaL_setfuncs(L, probe_reads, 0);
  luaL_setfuncs(L, probe_writes, 0);
  luaL_setfuncs(L, probe_waits, 0);
  luaL_setfuncs(L, probe_names, 0);
  luaL_setfuncs(L, probe_library, 0);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    lua_pushinteger(L, numbers[i].value);
    lua_setfield(L, -2, numbers[i].name);
  }
  return 1;
}
