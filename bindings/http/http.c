/* greenlua.core.http: an HTTP/1.1 server in C around handlers in Lua, and what
 * a client reads with.
 * lua/greenlua/http/ builds the public modules on it. */
#include "http.h"

#include <math.h>
#include <string.h>

#include "greenlualib.h"

const char grh_server_key;

grh_server *grh_check_server(lua_State *L, int arg) {
  grh_server *s = lua_touserdata(L, arg);
  if (!s || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) != sizeof *s || s->magic != &grh_server_key)
    luaL_typeerror(L, arg, "server of greenlua.core.http");
  return s;
}

/* --- settings ----------------------------------------------------------- */

static double seconds(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  double value = lua_isnil(L, -1) || !lua_toboolean(L, -1)
                     ? INFINITY
                     : lua_tonumber(L, -1);
  if (!(value > 0))
    luaL_error(L, "%s: seconds, more than 0, or false; got %s", name,
               luaL_tolstring(L, -1, NULL));
  lua_pop(L, 1);
  return value;
}

/* 0: none */
static double rate(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  double value = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return value;
}

static uint64_t count(lua_State *L, const char *name, uint64_t max) {
  lua_getfield(L, 1, name);
  if (!lua_toboolean(L, -1)) return lua_pop(L, 1), max;
  lua_Integer value = lua_tointeger(L, -1);
  if (value < 0 || (!value && !lua_isinteger(L, -1)))
    luaL_error(L, "%s: a number, not negative, or false; got %s", name,
               luaL_tolstring(L, -1, NULL));
  lua_pop(L, 1);
  return (uint64_t)value < max ? (uint64_t)value : max;
}

/* configure(settings, server): the options of a server */
static void configure(lua_State *L, grh_server *s) {
  s->idle = seconds(L, "idle_timeout");
  s->header = seconds(L, "header_timeout");
  s->body = seconds(L, "body_timeout");
  s->write = seconds(L, "write_timeout");
  s->linger = 2;
  s->grace = seconds(L, "body_grace");
  s->body_time = seconds(L, "max_body_time");
  s->body_rate = rate(L, "body_rate");
  s->write_rate = rate(L, "write_rate");
  s->write_grace = seconds(L, "write_grace");
  s->limits.line = (uint32_t)count(L, "max_line", 1 << 20);
  s->limits.head = (uint32_t)count(L, "max_head", 1 << 20);
  s->limits.fields = (uint32_t)count(L, "max_headers", GRH_FIELDS);
  s->body_max = count(L, "max_body", UINT64_MAX / 4);
  s->drain_max = count(L, "max_drain", UINT64_MAX / 4);
  s->gzip_min = (uint32_t)count(L, "gzip_min", 1 << 30);
  lua_getfield(L, 1, "gzip");
  s->gzip = lua_toboolean(L, -1);
  lua_pop(L, 1);
}

static void set_function(lua_State *L, const char *name, int value) {
  if (lua_getfield(L, 1, name) == LUA_TNIL)
    luaL_error(L, "%s is missing", name);
  lua_setiuservalue(L, -2, value);
}

/* server(settings) -> an object for `serve` */
static int new_server(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  grh_server *s = lua_newuserdatauv(L, sizeof *s, GRH_V_SERVER);
  memset(s, 0, sizeof *s);
  s->magic = &grh_server_key;
  s->http = lua_touserdata(L, lua_upvalueindex(2));
  gr_list_init(&s->conns);
  gr_list_init(&s->waiters);
  configure(L, s);
  set_function(L, "handler", GRH_V_HANDLER);
  set_function(L, "respond", GRH_V_RESPOND);
  set_function(L, "fail", GRH_V_FAIL);
  set_function(L, "owner", GRH_V_SERVER);
  if (lua_getfield(L, 1, "log") != LUA_TNIL) s->logs = true;
  lua_setiuservalue(L, -2, GRH_V_LOG);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &grh_server_key);
  lua_setmetatable(L, 2);
  return 1;
}

/* --- ending ------------------------------------------------------------- */

/* stop(server): those that wait for a request end now, the others with the one
 * that they have */
static int stop(lua_State *L) {
  grh_server *s = grh_check_server(L, 1);
  s->stopping = true;
  for (gr_node *n = s->conns.next, *next; n != &s->conns; n = next) {
    grh_conn *c = gr_container(n, grh_conn, node);
    next = n->next;
    if (c->idle) gr_stream_close(c->stream);
  }
  return 0;
}

/* close(server): all end now, as if their peers had gone */
static int close_all(lua_State *L) {
  grh_server *s = grh_check_server(L, 1);
  s->stopping = true;
  for (gr_node *n = s->conns.next; n != &s->conns; n = n->next)
    gr_stream_close(gr_container(n, grh_conn, node)->stream);
  return 0;
}

/* set_handler(server, function) */
static int set_handler(lua_State *L) {
  grh_check_server(L, 1);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, GRH_V_HANDLER);
  return 0;
}

static int resume(lua_State *L) {
  grh_check_server(L, 1)->stopping = false;
  return 0;
}

static const gr_wait wait_ended = {.name = "stop"};

static int wait_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, wait_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 2);
  lua_pushboolean(L, how == GR_WOKEN);
  return 1;
}

/* wait(server [, timeout]) -> have all connections ended? */
static int wait_for_end(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grh_server *s = grh_check_server(L, 1);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  if (!s->count) return lua_pushboolean(L, 1), 1;
  if (at <= gr_hub_now(&S->hub)) {
    gr_timed_out(L, 2);
    return lua_pushboolean(L, 0), 1;
  }
  gr_greenlet *g = gr_can_block(L, S, at);
  gr_list_append(&s->waiters, &g->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &wait_ended, true, 0, wait_k);
}

/* counts(server) -> connections now, requests so far */
static int counts(lua_State *L) {
  grh_server *s = grh_check_server(L, 1);
  lua_pushinteger(L, s->count);
  lua_pushinteger(L, (lua_Integer)s->requests);
  return 2;
}

/* --- the module --------------------------------------------------------- */

static grh_http *new_http(lua_State *L, gr_state *S) {
  grh_http *h = lua_newuserdatauv(L, sizeof *h, 0);
  memset(h, 0, sizeof *h);
  h->S = S;
  grh_parser_init(&h->parser);
  return h;
}

static void open_server(lua_State *L, grh_http *h) {
  static const luaL_Reg methods[] = {{"stop", stop},
                                     {"close", close_all},
                                     {"resume", resume},
                                     {"set_handler", set_handler},
                                     {"wait", wait_for_end},
                                     {"counts", counts},
                                     {NULL, NULL}};
  lua_createtable(L, 0, 2);
  lua_newtable(L);
  gr_setfuncs(L, h->S, methods);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "http.server");
  lua_setfield(L, -2, "__name");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &grh_server_key);
  lua_pushlightuserdata(L, h->S);
  lua_rawgetp(L, LUA_REGISTRYINDEX, h);
  lua_pushcclosure(L, new_server, 2);
  lua_setfield(L, -2, "server");
}

int luaopen_greenlua_core_http(lua_State *L) {
  gr_state *S = gr_state_open(L);
  if (gr_streams_open(&S->hub)) return luaL_error(L, "not enough memory");
  grh_http *h = new_http(L, S);
  lua_rawsetp(L, LUA_REGISTRYINDEX, h); /* for as long as the Lua state lives */
  lua_newtable(L);
  grh_open_request(L, h);
  grh_open_response(L, h);
  grh_open_file(L, h);
  grh_open_serve(L, h);
  grh_open_client(L, h);
  grh_open_inflate(L, h);
  open_server(L, h);
  return 1;
}
