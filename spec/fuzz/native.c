/* fuzz.core: parsers in C that no Lua module shows, for the targets. */
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dns/dns.h"
#include "fuzz.h"
#include "resolver/hosts.h"
#include "resolver/message.h"
#include "resolver/resolvconf.h"
#include "websocket/websocket.h"

/* --- files --------------------------------------------------------------- */

/* A file of that content, in memory; its path. */
static const char *file_of(const char *text, size_t n) {
  static char path[32];
  static int fd = -1;
  if (fd < 0) {
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, text, n, 0) != (ssize_t)n)
    return NULL;
  return path;
}

static const char *check_file(lua_State *L, int arg) {
  size_t n;
  const char *text = luaL_checklstring(L, arg, &n), *path = file_of(text, n);
  if (!path) luaL_error(L, "no file");
  return path;
}

static void push_address(lua_State *L, const gr_address *a) {
  char text[INET6_ADDRSTRLEN + 32];
  gr_address_text(a, text);
  lua_pushstring(L, text);
}

/* resolvconf(text) -> {servers =, search =, ndots =, attempts =, timeout =} */
static int resolvconf(lua_State *L) {
  gr_resolvconf c;
  const char *path = check_file(L, 1);
  gr_resolvconf_init(&c);
  if (gr_resolvconf_load(&c, path)) luaL_error(L, "resolv.conf");
  lua_newtable(L);
  lua_newtable(L);
  for (unsigned i = 0; i < c.nservers; i++) {
    push_address(L, &c.servers[i].address);
    lua_pushfstring(L, " %d", (int)c.servers[i].port);
    lua_concat(L, 2);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "servers");
  lua_newtable(L);
  for (unsigned i = 0; i < c.nsearch; i++) {
    lua_pushstring(L, c.search[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "search");
  lua_pushinteger(L, c.ndots);
  lua_setfield(L, -2, "ndots");
  lua_pushinteger(L, c.attempts);
  lua_setfield(L, -2, "attempts");
  lua_pushnumber(L, c.timeout);
  lua_setfield(L, -2, "timeout");
  gr_resolvconf_fini(&c);
  return 1;
}

/* hosts(text, name) -> list of addresses, canonical name | nil: not there */
static int hosts(lua_State *L) {
  gr_hosts h;
  gr_addresses found = {NULL, 0, 0};
  bool known = false;
  const char *canonical = NULL, *path = check_file(L, 1);
  const char *name = luaL_checkstring(L, 2);
  gr_hosts_init(&h, path);
  gr_hosts_find(&h, name, AF_UNSPEC, 1, &found, &known, &canonical);
  if (known) {
    lua_newtable(L);
    for (unsigned i = 0; i < found.count; i++) {
      push_address(L, &found.at[i]);
      lua_rawseti(L, -2, i + 1);
    }
    lua_pushstring(L, canonical);
    for (unsigned i = 0; i < found.count; i++)
      if (!gr_hosts_name(&h, &found.at[i], 1))
        luaL_error(L, "an address of the hosts file has no name");
  } else {
    lua_pushnil(L);
    lua_pushnil(L);
  }
  gr_addresses_fini(&found);
  gr_hosts_fini(&h);
  return 2;
}

/* file(bytes) -> path: of a file that has these, until the next call */
static int file(lua_State *L) {
  lua_pushstring(L, check_file(L, 1));
  return 1;
}

/* --- pipes --------------------------------------------------------------- */

/* pipe() -> path to read from, its descriptor, the one to write to */
static int new_pipe(lua_State *L) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) luaL_error(L, "no pipe");
  lua_pushfstring(L, "/proc/self/fd/%d", ends[0]);
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 3;
}

/* write(descriptor, bytes): there is room for them */
static int write_to(lua_State *L) {
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  if (write((int)luaL_checkinteger(L, 1), bytes, n) != (ssize_t)n)
    luaL_error(L, "the pipe is full");
  return 0;
}

static int close_fd(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

/* --- messages ------------------------------------------------------------ */

/* What a sanitizer sees ends where the message does. */
static const uint8_t *check_message(lua_State *L, size_t *n) {
  const char *text = luaL_checklstring(L, 1, n);
  uint8_t *data = lua_newuserdatauv(L, *n ? *n : 1, 0);
  memcpy(data, text, *n);
  return data;
}

/* message(bytes) -> {rcode =, qtype =, name =, ttl =, target =, {section, type,
 * class, ttl, name, data} ...}, is it whole? | nil: it is no answer */
static int message(lua_State *L) {
  size_t n;
  char text[GR_NAME_TEXT];
  gr_message m;
  gr_record r;
  int more;
  const uint8_t *data = check_message(L, &n);
  uint32_t ttl = gr_message_ttl(data, n);
  if (gr_message_read(&m, data, n)) return 0;
  lua_newtable(L);
  lua_pushinteger(L, m.rcode);
  lua_setfield(L, -2, "rcode");
  lua_pushinteger(L, m.qtype);
  lua_setfield(L, -2, "qtype");
  lua_pushinteger(L, ttl);
  lua_setfield(L, -2, "ttl");
  gr_message_name(&m, m.question, text);
  lua_pushstring(L, text);
  lua_setfield(L, -2, "name");
  if (gr_message_target(data, n, text)) {
    lua_pushstring(L, text);
    lua_setfield(L, -2, "target");
  }
  for (lua_Integer i = 1; (more = gr_message_next(&m, &r)) > 0; i++) {
    lua_createtable(L, 6, 0);
    lua_Integer numbers[] = {r.section, r.type, r.class, r.ttl};
    for (int k = 0; k < 4; k++) {
      lua_pushinteger(L, numbers[k]);
      lua_rawseti(L, -2, k + 1);
    }
    gr_message_name(&m, r.name, text);
    lua_pushstring(L, text);
    lua_rawseti(L, -2, 5);
    lua_pushlstring(L, (const char *)data + r.data, r.len);
    lua_rawseti(L, -2, 6);
    lua_rawseti(L, -2, i);
  }
  lua_pushboolean(L, more == 0);
  return 2;
}

/* records(bytes, type) -> what a query for that type makes of the answer */
static int records(lua_State *L) {
  size_t n;
  lua_Integer type = luaL_checkinteger(L, 2);
  const uint8_t *data = check_message(L, &n);
  gr_query q;
  memset(&q, 0, sizeof q);
  q.type = (unsigned)type;
  q.asked = gr_now();
  q.answer = (uint8_t *)data;
  q.len = n;
  grb_push_records(L, &q);
  return 1;
}

/* --- text ---------------------------------------------------------------- */

/* utf8(pieces) -> is their text valid?  Asked piece by piece. */
static int utf8(lua_State *L) {
  grw_utf8 u = {0, 0, 0};
  bool good = true;
  for (lua_Integer i = 1; good && lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    good = grw_utf8_goes_on(&u, s, n);
    lua_pop(L, 1);
  }
  lua_pushboolean(L, good && !u.left);
  return 1;
}

/* base64(bytes) -> text */
static int base64(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, (n + 2) / 3 * 4 + 1);
  grw_base64(s, n, to);
  luaL_pushresultsize(&b, strlen(to));
  return 1;
}

int luaopen_fuzz_core(lua_State *L) {
  static const luaL_Reg funcs[] = {{"file", file},
                                   {"pipe", new_pipe},
                                   {"write", write_to},
                                   {"close", close_fd},
                                   {"resolvconf", resolvconf},
                                   {"hosts", hosts},
                                   {"message", message},
                                   {"records", records},
                                   {"utf8", utf8},
                                   {"base64", base64},
                                   {NULL, NULL}};
  luaL_newlib(L, funcs);
  return 1;
}
