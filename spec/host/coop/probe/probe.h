/* A C module for Lua as others are, which knows nothing of greenlua: the calls
 * of the C library that wait, for the specs of --coop-libc.
 *
 * A call that fails is nil and the name of errno. A descriptor comes first. */
#ifndef PROBE_H
#define PROBE_H

#include <lauxlib.h>
#include <lua.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

typedef union {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_un un;
} probe_address;

int probe_failed(lua_State *L);
int probe_answer(lua_State *L, ssize_t n);
int probe_data(lua_State *L, const char *buffer, ssize_t n);
int probe_fd(lua_State *L);
struct timespec probe_time(double seconds);

/* A path, or a port of the loopback; with `six`, that of IPv6. */
socklen_t probe_address_of(lua_State *L, int arg, int six, probe_address *a);

/* What each file has. */
extern const luaL_Reg probe_descriptors[], probe_reads[], probe_writes[],
    probe_waits[], probe_names[], probe_library[];

#endif
