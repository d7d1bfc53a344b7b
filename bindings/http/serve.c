/* One connection from its first request to its last. */
#include <errno.h>
#include <string.h>

#include "http.h"

const char grh_conn_key;

static const gr_wait request_wait = {.name = "request"};
static const gr_wait drain_wait = {.name = "read"};

static int serve_k(lua_State *L, int status, lua_KContext state);

/* Nothing of the last turn is kept while it waits for the next. */
static int await_head(lua_State *L, gr_state *S, grh_conn *c) {
  gr_stream *s = c->stream;
  double now = gr_hub_now(&S->hub);
  if (c->limit == 0 && s->in.len) c->limit = now + c->server->header;
  c->idle = !s->in.len;
  lua_settop(L, GRH_I_TRACE);
  lua_pushnil(L);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_REQUEST);
  lua_pushnil(L);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_RESPONSE);
  double at = c->limit > 0 ? c->limit : now + c->server->idle;
  if (!gr_list_empty(&s->reads.waiters))
    gr_check_free(L, S, &s->reads, &request_wait, "the connection");
  return gr_park_io(L, S, &s->reads, at, &request_wait, GRH_S_AWAIT, serve_k);
}

/* --- refusing ----------------------------------------------------------- */

static void put_refusal(lua_State *L, grh_conn *c) {
  int status = c->body.failed;
  const char *why = c->http->parser.why;
  lua_settop(L, GRH_I_TRACE);
  lua_pushinteger(L, status);
  lua_pushstring(L, why ? why : "");
  lua_pushfstring(L,
                  "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Length: 0\r\n"
                  "Connection: close\r\n\r\n",
                  status, grh_reason(status), grh_date(c->http));
  size_t n;
  const char *text = lua_tolstring(L, -1, &n);
  c->ends = true;
  /* If it does not go at once, nobody reads it. */
  (void)grh_put(c, text, n, NULL, 0, NULL, 0);
  grh_rest_drop(c);
}

/* --- the handler -------------------------------------------------------- */

static int after_put(int got) {
  return got == -EAGAIN ? GRH_S_FLUSH : GRH_S_LOG;
}

/* What comes after the handler. */
static int settle(lua_State *L, grh_conn *c) {
  if (c->failed) return GRH_S_FAIL;
  if (c->taken) return GRH_S_LOG;
  if (c->res->state != GRH_FRESH || lua_gettop(L) == GRH_I_RESPONSE)
    return GRH_S_FINISH;
  if (lua_gettop(L) == GRH_I_REST && lua_type(L, GRH_I_REST) == LUA_TSTRING)
    return after_put(grh_send_body(L, c->res, GRH_I_REST));
  return GRH_S_RESPONDED;
}

/* The guest has been told; an error of its own is of no interest. */
static int left(lua_State *L, grh_conn *c, int status) {
  if (status != LUA_OK && status != LUA_YIELD) lua_pop(L, 1);
  return settle(L, c);
}

/* Push the function and its first argument. */
static void push_guest(lua_State *L, int conn) {
  lua_getiuservalue(L, conn, GRH_V_GUEST);
  lua_getfield(L, -1, "_leave");
  lua_insert(L, -2);
}

/* What the handler has returned, or its error, stays on the stack. */
static int leave_guest(lua_State *L, grh_conn *c) {
  int last = lua_gettop(L);
  c->guest = false;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  push_guest(L, GRH_I_CONN);
  lua_pushstring(L, c->failed ? "failed" : "returned");
  lua_pushvalue(L, last);
  int status = lua_pcallk(L, 3, 0, 0, GRH_S_LEFT, serve_k);
  return left(L, c, status);
}

static int handled(lua_State *L, grh_conn *c, int status) {
  c->failed = status != LUA_OK && status != LUA_YIELD;
  return c->guest ? leave_guest(L, c) : settle(L, c);
}

static int handle(lua_State *L, grh_conn *c) {
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_HANDLER);
  lua_pushvalue(L, GRH_I_REQUEST);
  lua_pushvalue(L, GRH_I_RESPONSE);
  int status =
      lua_pcallk(L, 2, LUA_MULTRET, GRH_I_TRACE, GRH_S_HANDLED, serve_k);
  return handled(L, c, status);
}

static int ended(int status, int next) {
  return status == LUA_OK || status == LUA_YIELD ? next : GRH_S_FAIL;
}

/* Values that are no single string: the Lua side knows what they mean. */
static int respond(lua_State *L) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_RESPOND);
  lua_insert(L, GRH_I_REST);
  lua_pushvalue(L, GRH_I_REQUEST);
  lua_insert(L, GRH_I_REST + 1);
  lua_pushvalue(L, GRH_I_RESPONSE);
  lua_insert(L, GRH_I_REST + 2);
  return ended(lua_pcallk(L, lua_gettop(L) - GRH_I_REST, 0, GRH_I_TRACE,
                          GRH_S_RESPONDED, serve_k),
               GRH_S_FINISH);
}

/* The error is on top; its traceback, the user value of the connection. */
static int fail(lua_State *L, grh_conn *c) {
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_insert(L, GRH_I_REST);
  lua_settop(L, GRH_I_REST);
  c->ends = true;
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_FAIL);
  lua_pushvalue(L, GRH_I_REQUEST);
  lua_pushvalue(L, GRH_I_RESPONSE);
  lua_pushvalue(L, GRH_I_REST);
  lua_getiuservalue(L, GRH_I_CONN, GRH_V_TRACE);
  lua_callk(L, 4, 0, GRH_S_FAILED, serve_k);
  return GRH_S_FAILED;
}

/* Whatever it could not send is not sent. */
static int failed(grh_conn *c) {
  if (c->res->state == GRH_STREAMING || c->rest.bytes) c->cut = true;
  if (c->cut || c->gone) return GRH_S_LOG;
  return GRH_S_FINISH;
}

static void push_method(lua_State *L, lua_CFunction f) {
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, f, 1);
}

static int flush(lua_State *L) {
  if (lua_gettop(L) < GRH_I_REST) lua_pushliteral(L, "");
  lua_settop(L, GRH_I_REST);
  push_method(L, grh_flush);
  lua_pushvalue(L, GRH_I_CONN);
  lua_pushvalue(L, GRH_I_REST);
  return ended(lua_pcallk(L, 2, 0, GRH_I_TRACE, GRH_S_FLUSH, serve_k),
               GRH_S_LOG);
}

static int finish(lua_State *L, grh_conn *c) {
  lua_settop(L, GRH_I_RESPONSE);
  if (c->res->state == GRH_FRESH)
    return after_put(grh_end_body(c->res, NULL, 0));
  if (c->res->state == GRH_SENT) return GRH_S_LOG;
  push_method(L, grh_finish);
  lua_pushvalue(L, GRH_I_RESPONSE);
  return ended(lua_pcallk(L, 1, 0, GRH_I_TRACE, GRH_S_FINISH, serve_k),
               GRH_S_LOG);
}

static int write_log(lua_State *L, grh_conn *c) {
  if (!c->server->logs || c->logged) return GRH_S_DRAIN;
  c->logged = true;
  lua_settop(L, GRH_I_RESPONSE);
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_LOG);
  lua_pushvalue(L, GRH_I_REQUEST);
  lua_pushvalue(L, GRH_I_RESPONSE);
  lua_pushnumber(L, gr_hub_now(gr_stream_hub(c->stream)) - c->since);
  int status = lua_pcallk(L, 3, 0, GRH_I_TRACE, GRH_S_LOGGED, serve_k);
  return ended(status, GRH_S_DRAIN);
}

/* The log has been told of a refusal; an error of its own is no secret. */
static int refused(lua_State *L, int status) {
  if (status == LUA_OK || status == LUA_YIELD) return GRH_S_LINGER;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  int err = lua_gettop(L);
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_FAIL);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, err);
  lua_getiuservalue(L, GRH_I_CONN, GRH_V_TRACE);
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_SERVER);
  lua_callk(L, 5, 0, GRH_S_TOLD, serve_k);
  return GRH_S_LINGER;
}

static int log_refusal(lua_State *L, grh_conn *c) {
  if (!c->server->logs) return GRH_S_LINGER;
  lua_getiuservalue(L, GRH_I_SERVER, GRH_V_LOG);
  lua_pushnil(L);
  lua_pushvalue(L, GRH_I_SOCKET);
  lua_pushnumber(L, 0);
  lua_pushvalue(L, GRH_I_TRACE + 1);
  lua_pushvalue(L, GRH_I_TRACE + 2);
  return refused(L, lua_pcallk(L, 5, 0, GRH_I_TRACE, GRH_S_REFUSED, serve_k));
}

/* --- ends ---------------------------------------------------------------- */

/* What belonged to the request alone is forgotten. */
static void clear_scopes(lua_State *L, gr_state *S) {
  lua_pushnil(L);
  gr_set_scoped(L, S, GR_T_LOCALS);
  lua_getiuservalue(L, GRH_I_CONN, GRH_V_CONTEXT);
  gr_set_scoped(L, S, GR_T_CONTEXT);
}

static int over(lua_State *L, gr_state *S, grh_conn *c) {
  bool unread = c->body.state != GRH_B_DONE || c->stream->in.len;
  c->limit = 0;
  grh_end_turn(c);
  if (S->scoped) clear_scopes(L, S);
  if (!c->ends) return GRH_S_HEAD;
  return unread ? GRH_S_LINGER : GRH_S_CLOSE;
}

static int park(lua_State *L, gr_state *S, grh_conn *c, double at, int state) {
  return gr_park_io(L, S, &c->stream->reads, at, &drain_wait, state, serve_k);
}

/* --- the loop ----------------------------------------------------------- */

static int run(lua_State *L, gr_state *S, grh_conn *c, int state) {
  for (;;) {
    switch (state) {
    case GRH_S_HEAD:
      if (gr_gives_way(L, S, 1))
        return gr_let_others(L, S, GRH_S_HEAD, serve_k);
      state = grh_read_head(L, c);
      break;
    case GRH_S_AWAIT:
      if (!c->server->stopping || c->stream->in.len) return await_head(L, S, c);
      state = GRH_S_CLOSE;
      break;
    case GRH_S_HANDLE:
      state = handle(L, c);
      break;
    case GRH_S_RESPONDED:
      state = respond(L);
      break;
    case GRH_S_FAIL:
      state = fail(L, c);
      break;
    case GRH_S_FAILED:
      state = failed(c);
      break;
    case GRH_S_FLUSH:
      state = flush(L);
      break;
    case GRH_S_FINISH:
      state = finish(L, c);
      break;
    case GRH_S_LOG:
      state = write_log(L, c);
      break;
    case GRH_S_DRAIN:
      state = grh_drain(c);
      break;
    case GRH_S_AWAIT_DRAIN:
      return park(L, S, c, c->limit, GRH_S_AWAIT_DRAIN);
    case GRH_S_OVER:
      state = over(L, S, c);
      break;
    case GRH_S_REFUSE:
      put_refusal(L, c);
      state = log_refusal(L, c);
      break;
    case GRH_S_LINGER:
      state = grh_linger(c);
      break;
    case GRH_S_AWAIT_LINGER:
      return park(L, S, c, c->limit, GRH_S_AWAIT_LINGER);
    default:
      lua_settop(L, GRH_I_CONN);
      return 0;
    }
  }
}

/* What comes after what `state` has waited for, or called. */
static int next(lua_State *L, gr_state *S, grh_conn *c, int status, int state) {
  bool late;
  switch (state) {
  case GRH_S_HANDLED:
    return handled(L, c, status);
  case GRH_S_RESPONDED:
    return ended(status, GRH_S_FINISH);
  case GRH_S_FLUSH:
  case GRH_S_FINISH:
    return ended(status, GRH_S_LOG);
  case GRH_S_LEFT:
    return left(L, c, status);
  case GRH_S_LOGGED:
    return ended(status, GRH_S_DRAIN);
  case GRH_S_REFUSED:
    return refused(L, status);
  case GRH_S_TOLD:
    return GRH_S_LINGER;
  case GRH_S_FAILED:
    return GRH_S_FAILED;
  default:
    late = gr_woken(L, S, state, serve_k) == GR_TIMEDOUT;
  }
  if (state == GRH_S_HEAD || !late)
    return state == GRH_S_AWAIT          ? GRH_S_HEAD
           : state == GRH_S_AWAIT_DRAIN  ? GRH_S_DRAIN
           : state == GRH_S_AWAIT_LINGER ? GRH_S_LINGER
                                         : state;
  return state == GRH_S_AWAIT ? grh_head_timed_out(c) : GRH_S_CLOSE;
}

static int serve_k(lua_State *L, int status, lua_KContext state) {
  gr_state *S = gr_state_of(L);
  grh_conn *c = lua_touserdata(L, GRH_I_CONN);
  return run(L, S, c, next(L, S, c, status, (int)state));
}

/* Keeps the traceback of an error for whoever tells of it. */
static int keep_trace(lua_State *L) {
  luaL_traceback(L, L, NULL, 1);
  lua_setiuservalue(L, lua_upvalueindex(1), GRH_V_TRACE);
  lua_settop(L, 1);
  return 1;
}

static grh_conn *new_conn(lua_State *L, gr_stream *s, grh_server *sv) {
  grh_conn *c = lua_newuserdatauv(L, sizeof *c, GRH_V_CONN_END);
  memset(c, 0, sizeof *c);
  c->magic = &grh_conn_key;
  c->stream = s;
  c->server = sv;
  c->http = sv->http;
  gr_node_init(&c->node);
  lua_pushvalue(L, GRH_I_SOCKET);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_SOCKET);
  lua_pushvalue(L, GRH_I_SERVER);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_CONFIG);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &grh_conn_key);
  lua_setmetatable(L, GRH_I_CONN);
  return c;
}

int grh_serve(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_stream *s = gr_to_stream(L, 1);
  grh_server *sv = grh_check_server(L, 2);
  luaL_argexpected(L, s, 1, "connected socket");
  lua_settop(L, 3);
  grh_conn *c = new_conn(L, s, sv);
  if (!lua_isnil(L, GRH_I_ADDRESS)) {
    lua_pushvalue(L, GRH_I_ADDRESS);
    lua_setiuservalue(L, GRH_I_CONN, GRH_V_ADDRESS);
  }
  lua_toclose(L, GRH_I_CONN);
  gr_list_append(&sv->conns, &c->node);
  sv->count++;
  c->limit = gr_hub_now(&S->hub) + sv->header;
  if (S->scoped) {
    gr_push_scoped(L, S, GR_T_CONTEXT);
    lua_setiuservalue(L, GRH_I_CONN, GRH_V_CONTEXT);
  }
  lua_pushvalue(L, GRH_I_CONN);
  lua_pushcclosure(L, keep_trace, 1);
  return run(L, S, c, GRH_S_HEAD);
}

/* --- its end ------------------------------------------------------------ */

static void leave(grh_conn *c) {
  grh_server *sv = c->server;
  grh_end_turn(c);
  if (gr_list_empty(&c->node)) return;
  gr_node_remove(&c->node);
  if (!--sv->count) gr_wake_all(&sv->http->S->hub, &sv->waiters, GR_WOKEN);
}

static int collect_conn(lua_State *L) {
  leave(lua_touserdata(L, 1));
  return 0;
}

static int close_conn(lua_State *L) {
  grh_conn *c = lua_touserdata(L, 1);
  leave(c);
  if (c->guest) { /* a kill: it has time for a last word only */
    push_guest(L, 1);
    lua_pushliteral(L, "killed");
    (void)lua_pcall(L, 2, 0, 0);
  }
  gr_stream_close(c->stream);
  return 0;
}

void grh_open_serve(lua_State *L, grh_http *h) {
  static const luaL_Reg meta[] = {
      {"__gc", collect_conn}, {"__close", close_conn}, {NULL, NULL}};
  static const luaL_Reg funcs[] = {{"serve", grh_serve}, {NULL, NULL}};
  gr_setfuncs(L, h->S, funcs);
  lua_createtable(L, 0, 2);
  gr_setfuncs(L, h->S, meta);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &grh_conn_key);
}
