/* coop_probe: looking up names. */
#include "probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

/* getaddrinfo(node, service) -> how many */
static int l_getaddrinfo(lua_State *L) {
  struct addrinfo *found = NULL;
  int count = 0, err = getaddrinfo(luaL_checkstring(L, 1),
                                   luaL_optstring(L, 2, NULL), NULL, &found);
  if (err) return luaL_fileresult(L, 0, gai_strerror(err));
  for (struct addrinfo *a = found; a; a = a->ai_next) count++;
  freeaddrinfo(found);
  return probe_answer(L, count);
}

static int l_getnameinfo(lua_State *L) {
  probe_address a;
  char host[NI_MAXHOST], service[NI_MAXSERV];
  socklen_t size = probe_address_of(L, 1, 0, &a);
  int err = getnameinfo(&a.any, size, host, sizeof host, service,
                        sizeof service, NI_NUMERICSERV);
  if (err) return luaL_fileresult(L, 0, gai_strerror(err));
  lua_pushstring(L, host);
  lua_pushstring(L, service);
  return 2;
}

static int host_answer(lua_State *L, const struct hostent *found, int err) {
  if (!found) {
    lua_pushnil(L);
    lua_pushstring(L, hstrerror(err));
    return 2;
  }
  lua_pushstring(L, found->h_name);
  lua_pushstring(L, inet_ntoa(*(struct in_addr *)found->h_addr_list[0]));
  lua_pushboolean(L, found->h_addr_list[1] != NULL);
  return 3;
}

static int l_gethostbyname(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const struct hostent *found =
      lua_toboolean(L, 2) ? gethostbyname2(name, AF_INET) : gethostbyname(name);
  return host_answer(L, found, h_errno);
}

/* gethostbyname_r(name, room, two): also at an odd address */
static int l_gethostbyname_r(lua_State *L) {
  struct hostent entry, *found = NULL;
  char room[4096];
  int err, result;
  size_t n = (size_t)luaL_optinteger(L, 2, 4000);
  if (lua_toboolean(L, 3))
    result = gethostbyname2_r(luaL_checkstring(L, 1), AF_INET, &entry, room + 3,
                              n, &found, &err);
  else
    result = gethostbyname_r(luaL_checkstring(L, 1), &entry, room + 3, n,
                             &found, &err);
  int results = host_answer(L, found, err);
  lua_pushstring(L, result ? strerrorname_np(result) : "none");
  return results + 1;
}

/* gethostbyaddr(with _r?) */
static int l_gethostbyaddr(lua_State *L) {
  struct in_addr a = {htonl(INADDR_LOOPBACK)};
  struct hostent entry, *found = NULL;
  char room[4096];
  int err = 0;
  if (lua_toboolean(L, 1))
    gethostbyaddr_r(&a, sizeof a, AF_INET, &entry, room, sizeof room, &found,
                    &err);
  else
    found = gethostbyaddr(&a, sizeof a, AF_INET);
  return host_answer(L, found, err);
}

const luaL_Reg probe_names[] = {
    {"getaddrinfo", l_getaddrinfo},     {"getnameinfo", l_getnameinfo},
    {"gethostbyname", l_gethostbyname}, {"gethostbyname_r", l_gethostbyname_r},
    {"gethostbyaddr", l_gethostbyaddr}, {NULL, NULL}};
