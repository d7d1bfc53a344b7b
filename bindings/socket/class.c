/* The classes of sockets: their names, methods and metatables. */
#include "socket.h"

#include <string.h>

enum { INET, UNIX, DOMAINS };

static const char *const class_names[DOMAINS][GRB_CLASSES] = {
    {"tcp{master}", "tcp{client}", "tcp{server}", "udp{unconnected}",
     "udp{connected}"},
    {"unixstream{master}", "unixstream{client}", "unixstream{server}",
     "unixdgram{unconnected}", "unixdgram{connected}"}};

/* Methods that do for several classes: [domain][datagrams]. */
static const char *const any_names[DOMAINS][2] = {
    {"tcp{any}", "udp{any}"}, {"unixstream{any}", "unixdgram{any}"}};

static int domain_of(const grb_socket *s) {
  return s->family == AF_UNIX ? UNIX : INET;
}

const char *grb_class_name(const grb_socket *s) {
  return class_names[domain_of(s)][s->class];
}

/* A method's second upvalue tells whose it is: of which domain, and (2) of
 * datagrams? */
void grb_wrong_class(lua_State *L, int class) {
  int whose = (int)lua_tointeger(L, lua_upvalueindex(2)), domain = whose & 1;
  const char *name =
      class >= 0 ? class_names[domain][class] : any_names[domain][whose >> 1];
  luaL_argerror(L, 1, lua_pushfstring(L, "%s expected", name));
}

/* The metatables are in the registry under the addresses of their names. */
static const void *key(const grb_socket *s) {
  return &class_names[domain_of(s)][s->class];
}

void grb_set_class(lua_State *L, int arg, int class) {
  grb_socket *s = lua_touserdata(L, arg);
  arg = lua_absindex(L, arg);
  s->class = (uint8_t) class;
  lua_rawgetp(L, LUA_REGISTRYINDEX, key(s));
  lua_setmetatable(L, arg);
}

static int to_string(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_ANY);
  lua_pushfstring(L, "%s: %p", grb_class_name(s), (void *)s);
  return 1;
}

/* --- the tables --------------------------------------------------------- */

/* The streams and the datagrams of each domain have functions of their own,
 * each class has tables. */

static const luaL_Reg *const stream_methods[] = {
    grb_methods,         grb_stats_methods,    grb_address_methods,
    grb_connect_methods, grb_option_methods,   grb_receive_methods,
    grb_send_methods,    grb_sendfile_methods, NULL};

static const luaL_Reg *const udp_methods[] = {grb_methods, grb_address_methods,
                                              grb_option_methods,
                                              grb_datagram_methods, NULL};

static const luaL_Reg *const unixdgram_methods[] = {
    grb_methods,          grb_address_methods,   grb_option_methods,
    grb_datagram_methods, grb_unixdgram_methods, NULL};

static void add_methods(lua_State *L, gr_state *S, int whose,
                        const luaL_Reg *methods) {
  for (; methods->name; methods++) {
    lua_pushlightuserdata(L, S);
    lua_pushinteger(L, whose);
    lua_pushcclosure(L, methods->func, 2);
    lua_setfield(L, -2, methods->name);
  }
}

static void push_methods(lua_State *L, gr_state *S, int domain,
                         bool datagrams) {
  static const luaL_Reg meta[] = {{"__tostring", to_string}, {NULL, NULL}};
  const luaL_Reg *const *lists = !datagrams       ? stream_methods
                                 : domain == INET ? udp_methods
                                                  : unixdgram_methods;
  lua_newtable(L);
  for (; *lists; lists++) add_methods(L, S, domain | datagrams << 1, *lists);
  add_methods(L, S, domain | datagrams << 1, meta);
}

/* With the methods on top: push the metatable of a class.  Metamethods go
 * there, methods to its __index. */
static void push_metatable(lua_State *L, const char *name) {
  int from = lua_gettop(L), metatable = from + 1, index = from + 2;
  lua_createtable(L, 0, 5);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, from);) {
    bool meta = !strncmp(lua_tostring(L, -2), "__", 2);
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, meta ? metatable : index);
  }
  lua_pushstring(L, name);
  lua_setfield(L, index, "class");
  lua_setfield(L, metatable, "__index");
  lua_pushstring(L, name);
  lua_setfield(L, metatable, "__name");
}

/* Classes `from` to `to` of a domain, into the table on top of the stack. */
static void open_kind(lua_State *L, gr_state *S, int domain, int from, int to) {
  push_methods(L, S, domain, from >= GRB_UNCONNECTED);
  for (int c = from; c <= to; c++) {
    push_metatable(L, class_names[domain][c]);
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -4, class_names[domain][c]);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &class_names[domain][c]);
  }
  lua_pop(L, 1);
}

void grb_open_classes(lua_State *L, gr_state *S) {
  lua_newtable(L);
  for (int d = 0; d < DOMAINS; d++) {
    open_kind(L, S, d, GRB_MASTER, GRB_SERVER);
    open_kind(L, S, d, GRB_UNCONNECTED, GRB_CONNECTED);
  }
  lua_setfield(L, -2, "classes");
}
