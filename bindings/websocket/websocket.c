/* The WebSocket object. */
#include "websocket.h"

#include <math.h>
#include <string.h>

#include "alloc.h"
#include "greenlualib.h"

static const char socket_key;

/* --- the object --------------------------------------------------------- */

grw_socket *grw_check(lua_State *L, int arg) {
  grw_socket *w = lua_touserdata(L, arg);
  if (!w || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) != sizeof *w || w->magic != &socket_key)
    luaL_typeerror(L, arg, "WebSocket");
  return w;
}

/* What the program sees of it besides its methods. */
static int push_property(lua_State *L, const grw_socket *w, const char *name) {
  if (!strcmp(name, "closed"))
    lua_pushboolean(L, w->over || w->sent_close);
  else if (!strcmp(name, "over"))
    lua_pushboolean(L, w->over);
  else if (!strcmp(name, "client"))
    lua_pushboolean(L, w->client);
  else if (!strcmp(name, "close_timeout"))
    lua_pushnumber(L, w->close_limit);
  else if (!strcmp(name, "send_timeout") && w->send_limit < INFINITY)
    lua_pushnumber(L, w->send_limit);
  else if (!strcmp(name, "overflow"))
    lua_pushstring(L, w->drops ? "close" : "wait");
  else if (!strcmp(name, "queued"))
    lua_pushinteger(L, (lua_Integer)w->stream->out.len);
  else if (!strcmp(name, "code") && w->over)
    lua_pushinteger(L, w->code);
  else if (!strcmp(name, "reason") && w->over)
    lua_pushlstring(L, (const char *)w->control, w->reason_len);
  else if (!strcmp(name, "compressed"))
    lua_pushboolean(L, w->squeeze.bits || w->unsqueeze.bits);
  else
    return 0;
  return 1;
}

/* __index; upvalue 2: the methods */
static int get(lua_State *L) {
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  const grw_socket *w = grw_check(L, 1);
  if (lua_getiuservalue(L, 1, GRW_V_FIELDS) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  }
  if (lua_type(L, 2) == LUA_TSTRING && push_property(L, w, lua_tostring(L, 2)))
    return 1;
  return lua_pushnil(L), 1;
}

/* __newindex: a field of the program's own */
static int set(lua_State *L) {
  grw_check(L, 1);
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL)
    return luaL_error(L, "'%s' is a method and cannot be set",
                      lua_tostring(L, 2));
  lua_getiuservalue(L, 1, GRW_V_FIELDS);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_rawset(L, -3);
  return 0;
}

static void forget(grw_socket *w) {
  gr_free(w->bytes);
  gr_free(w->control);
  gr_free(w->pong_data);
  w->bytes = NULL;
  w->control = w->pong_data = NULL;
  w->pong_len = w->reason_len = 0;
  grw_deflate_drop(w);
  grw_decoder_drop(w);
}

static int collect(lua_State *L) {
  grw_socket *w = lua_touserdata(L, 1);
  if (!w->over) grw_end(w, 1006, NULL, 0);
  forget(w);
  return 0;
}

/* --- making one --------------------------------------------------------- */

static double seconds(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  double value = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : INFINITY;
  lua_pop(L, 1);
  return value;
}

static lua_Integer number(lua_State *L, const char *name, lua_Integer other) {
  lua_getfield(L, 2, name);
  lua_Integer value = luaL_optinteger(L, -1, other);
  lua_pop(L, 1);
  return value;
}

static bool flag(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static void configure(lua_State *L, grw_socket *w) {
  w->client = flag(L, "client");
  w->max = (uint64_t)number(L, "max_message", 1 << 20);
  w->high = (size_t)number(L, "max_queue", 1 << 20);
  w->ping = seconds(L, "ping_interval");
  w->pong = seconds(L, "pong_timeout");
  w->close_limit = seconds(L, "close_timeout");
  w->send_limit = seconds(L, "send_timeout");
  lua_getfield(L, 2, "overflow");
  lua_pushliteral(L, "close");
  w->drops = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  w->squeeze.bits = (uint8_t)number(L, "send_bits", 0);
  w->squeeze.fresh = flag(L, "send_fresh");
  w->unsqueeze.bits = (uint8_t)number(L, "receive_bits", 0);
  w->unsqueeze.fresh = flag(L, "receive_fresh");
  w->level = (int)number(L, "level", -1);
  w->squeeze_min = (size_t)number(L, "min", 0);
}

/* new(socket, settings, fields) -> WebSocket: the handshake is over, and the
 * socket is its alone */
static int new (lua_State *L) {
  grw_shared *g = lua_touserdata(L, lua_upvalueindex(2));
  gr_stream *s = gr_to_stream(L, 1);
  luaL_argexpected(L, s, 1, "connected socket");
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  grw_socket *w = lua_newuserdatauv(L, sizeof *w, GRW_V_FIELDS);
  memset(w, 0, sizeof *w);
  w->magic = &socket_key;
  w->shared = g;
  w->stream = s;
  gr_list_init(&w->enders);
  configure(L, w);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 4, GRW_V_SOCKET);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 4, GRW_V_FIELDS);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &socket_key);
  lua_setmetatable(L, 4);
  s->gathers = true; /* what is sent in one turn goes out together */
  return 1;
}

/* --- the module --------------------------------------------------------- */

/* accept(key) -> what a server answers to it */
static int accept_key(lua_State *L) {
  size_t n;
  char text[29];
  const char *key = luaL_checklstring(L, 1, &n);
  grw_accept_key(key, n, text);
  lua_pushlstring(L, text, 28);
  return 1;
}

/* key() -> a client's */
static int new_key(lua_State *L) {
  uint8_t bytes[16];
  char text[25];
  grw_random(lua_touserdata(L, lua_upvalueindex(2)), bytes, sizeof bytes);
  grw_base64(bytes, sizeof bytes, text);
  lua_pushlstring(L, text, 24);
  return 1;
}

/* utf8(text) -> is it valid? */
static int is_utf8(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, grw_is_utf8(s, n));
  return 1;
}

static int close_shared(lua_State *L) {
  grw_frames_close(lua_touserdata(L, 1));
  return 0;
}

static grw_shared *new_shared(lua_State *L, gr_state *S) {
  grw_shared *g = lua_newuserdatauv(L, sizeof *g, 0);
  memset(g, 0, sizeof *g);
  g->S = S;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, close_shared);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  const char *missing = grw_frames_open(g);
  if (missing) luaL_error(L, "WebSockets need wslay: %s", missing);
  return g;
}

/* f with the state, and what is at `index`, as upvalues */
static void push_with(lua_State *L, gr_state *S, int index, lua_CFunction f) {
  lua_pushlightuserdata(L, S);
  lua_pushvalue(L, index);
  lua_pushcclosure(L, f, 2);
}

static void open_class(lua_State *L, gr_state *S) {
  int methods = lua_gettop(L) + 1;
  lua_newtable(L);
  gr_setfuncs(L, S, grw_receive_methods);
  gr_setfuncs(L, S, grw_send_methods);
  lua_createtable(L, 0, 6);
  lua_pushliteral(L, "WebSocket");
  lua_setfield(L, -2, "__name");
  push_with(L, S, methods, get);
  lua_setfield(L, -2, "__index");
  push_with(L, S, methods, set);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &socket_key);
}

int luaopen_greenlua_core_websocket(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"accept", accept_key}, {"utf8", is_utf8}, {NULL, NULL}};
  gr_state *S = gr_state_open(L);
  if (gr_streams_open(&S->hub)) return luaL_error(L, "not enough memory");
  lua_newtable(L);
  int module = lua_gettop(L);
  gr_setfuncs(L, S, funcs);
  new_shared(L, S);
  push_with(L, S, module + 1, new);
  lua_setfield(L, module, "new");
  push_with(L, S, module + 1, new_key);
  lua_setfield(L, module, "key");
  /* Its objects are finalized in any order, but all before the registry. */
  lua_rawsetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, -1));
  open_class(L, S);
  lua_setfield(L, module, "meta");
  lua_setfield(L, module, "methods");
  return 1;
}
