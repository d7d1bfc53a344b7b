/* Names and numbers for which nobody need be asked. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dns.h"

/* parse(text) -> family, the number as it is usually written | nothing */
static int parse(lua_State *L) {
  char text[INET6_ADDRSTRLEN + 32];
  size_t len;
  gr_address a;
  const char *name = luaL_checklstring(L, 1, &len);
  if (memchr(name, 0, len) || !gr_address_parse(&a, name)) return 0;
  gr_address_text(&a, text);
  lua_pushstring(L, a.family == AF_INET ? "inet" : "inet6");
  lua_pushstring(L, text);
  return 2;
}

/* reverse(number) -> the name under which its PTR records are | nothing */
static int reverse(lua_State *L) {
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  size_t len;
  gr_address a;
  const char *name = luaL_checklstring(L, 1, &len);
  if (memchr(name, 0, len) || !gr_address_parse(&a, name)) return 0;
  const uint8_t *p = a.bytes;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  if (a.family == AF_INET6 && memcmp(p, mapped, 12)) {
    for (int i = 15; i >= 0; i--) {
      char *room = luaL_prepbuffsize(&b, 8);
      luaL_addsize(&b, (size_t)sprintf(room, "%x.%x.", p[i] & 0xf, p[i] >> 4));
    }
    luaL_addstring(&b, "ip6.arpa");
  } else {
    char *room = luaL_prepbuffsize(&b, 32);
    if (a.family == AF_INET6) p += 12;
    luaL_addsize(&b, (size_t)sprintf(room, "%u.%u.%u.%u.in-addr.arpa", p[3],
                                     p[2], p[1], p[0]));
  }
  luaL_pushresult(&b);
  return 1;
}

/* service(name, protocol) -> port | nothing */
static int service(lua_State *L) {
  struct servent s, *found = NULL;
  char memory[4096];
  const char *name = luaL_checkstring(L, 1), *protocol = luaL_checkstring(L, 2);
  if (getservbyname_r(name, protocol, &s, memory, sizeof memory, &found) ||
      !found)
    return 0;
  lua_pushinteger(L, ntohs((uint16_t)s.s_port));
  return 1;
}

/* service_name(port, protocol) -> name | nothing */
static int service_name(lua_State *L) {
  struct servent s, *found = NULL;
  char memory[4096];
  int port = htons((uint16_t)luaL_checkinteger(L, 1));
  const char *protocol = luaL_checkstring(L, 2);
  if (getservbyport_r(port, protocol, &s, memory, sizeof memory, &found) ||
      !found)
    return 0;
  lua_pushstring(L, s.s_name);
  return 1;
}

/* hostname() -> string | nil, message */
static int host_name(lua_State *L) {
  char name[257];
  if (gethostname(name, sizeof name)) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
  }
  name[sizeof name - 1] = 0;
  lua_pushstring(L, name);
  return 1;
}

/* has_family(family) -> does this machine have such an address, loopback not
 * counted? */
static int has_family(lua_State *L) {
  bool six = !strcmp(luaL_checkstring(L, 1), "inet6");
  static const gr_address outside[] = {
      {.family = AF_INET, .bytes = {192, 0, 2, 1}},
      {.family = AF_INET6, .bytes = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}};
  struct sockaddr_storage to;
  socklen_t len = gr_address_with_port(&outside[six], 53, &to);
  int fd = socket(outside[six].family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool has = fd >= 0 && !connect(fd, (struct sockaddr *)&to, len);
  if (fd >= 0) close(fd);
  lua_pushboolean(L, has);
  return 1;
}

/* sort(list of {addr =, ...}) -> another list of the same, as RFC 6724 has them
 */
static int sort(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  gr_addresses list = {.at = NULL};
  gr_address *at = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *at, 0);
  lua_createtable(L, (int)n, 0);
  lua_newtable(L); /* by number */
  list.at = at;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    lua_getfield(L, -1, "addr");
    if (!gr_address_parse(&at[list.count], luaL_checkstring(L, -1)))
      return luaL_argerror(L, 1, "numeric addresses expected");
    char text[INET6_ADDRSTRLEN + 32];
    gr_address_text(&at[list.count++], text);
    lua_pop(L, 1);
    lua_setfield(L, 4, text);
  }
  list.room = list.count;
  gr_addresses_sort(&list);
  for (unsigned i = 0; i < list.count; i++) {
    char text[INET6_ADDRSTRLEN + 32];
    gr_address_text(&at[i], text);
    lua_getfield(L, 4, text);
    lua_rawseti(L, 3, i + 1);
  }
  lua_settop(L, 3);
  return 1;
}

const luaL_Reg grb_dns_names[] = {
    {"parse", parse},           {"reverse", reverse},
    {"service", service},       {"service_name", service_name},
    {"hostname", host_name},    {"sort", sort},
    {"has_family", has_family}, {NULL, NULL}};
