/* One connection from its first request to its last. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc.h"
#include "http.h"

const char grh_conn_key;

/* What lies on the stack: for the whole connection, then for a turn. */
enum { SOCKET = 1, SERVER, ADDRESS, CONN, TRACE, REQUEST, RESPONSE, REST };

/* What to do next, and what a continuation goes on with. */
enum {
  HEAD,      /* see whether a head is there */
  AWAIT,     /* … it is not */
  HANDLE,    /* run the handler */
  HANDLED,   /* it has returned, or failed */
  RESPONDED, /* what it returned has been sent */
  FAIL,      /* tell of the error on top */
  FAILED,
  FLUSH,  /* send the rest, of the body at REST */
  FINISH, /* end the response */
  LOG,
  LOGGED,
  DRAIN, /* take what is left of the request's body */
  AWAIT_DRAIN,
  OVER,   /* the turn is over */
  REFUSE, /* the request cannot be understood */
  REFUSED,
  LINGER, /* let the other side read what we sent last */
  AWAIT_LINGER,
  CLOSE
};

static const gr_wait request_wait = {.name = "request"};
static const gr_wait drain_wait = {.name = "read"};

static int serve_k(lua_State *L, int status, lua_KContext state);

/* --- a turn ------------------------------------------------------------- */

static void end_turn(grh_conn *c) {
  if (c->req) c->req->c = NULL;
  if (c->res) c->res->c = NULL;
  c->req = NULL;
  c->res = NULL;
  if (c->spill) gr_free(c->spill);
  c->spill = NULL;
  if (c->gzip) grh_gzip_drop(c);
  if (c->rest.bytes) grh_rest_drop(c);
}

static void begin_turn(lua_State *L, grh_conn *c, size_t n) {
  lua_settop(L, TRACE);
  c->req = grh_new_request(L, c, c->stream->in.data, n);
  lua_pushvalue(L, CONN);
  lua_setiuservalue(L, REQUEST, 2);
  lua_pushvalue(L, REQUEST);
  lua_setiuservalue(L, CONN, GRH_V_REQUEST);
  c->res = grh_new_response(L, c);
  lua_pushvalue(L, CONN);
  lua_setiuservalue(L, RESPONSE, 2);
  lua_pushvalue(L, RESPONSE);
  lua_setiuservalue(L, CONN, GRH_V_RESPONSE);
  c->ends = !c->req->head.keep_alive;
  c->idle = c->logged = false;
  c->scanned = 0;
  c->limit = 0;
  grh_body_start(c, &c->req->head, c->server->body_max);
  if (c->server->logs) c->since = gr_now();
  c->server->requests++;
  gr_stream_skip(c->stream, n);
}

/* --- heads -------------------------------------------------------------- */

static int refuse(grh_conn *c, int status) {
  c->body.failed = (uint16_t)status;
  return REFUSE;
}

static int hex(char ch) {
  return (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f');
}

/* An escape that is none, or one of NUL. */
static bool bad_escape(const char *s, size_t n) {
  const char *end = s + n;
  for (; (s = memchr(s, '%', (size_t)(end - s))); s++)
    if (end - s < 3 || !hex(s[1]) || !hex(s[2]) || (s[1] == '0' && s[2] == '0'))
      return true;
  return false;
}

static int parse(lua_State *L, grh_conn *c, size_t n) {
  grh_parser *p = &c->http->parser;
  const char *data = c->stream->in.data;
  int bad = grh_parse_head(p, HTTP_REQUEST, data, n);
  if (bad) return refuse(c, bad);
  grh_head *h = &p->head;
  if (bad_escape(data + h->target.at, h->target.len)) {
    p->why = "a bad escape in the target";
    return refuse(c, 400);
  }
  if (h->framing == GRH_LENGTH && h->length > c->server->body_max) {
    p->why = "the body is too large";
    return refuse(c, 413);
  }
  if (h->expect == GRH_EXPECT_OTHER) {
    p->why = "an unknown expectation";
    return refuse(c, 417);
  }
  begin_turn(L, c, n);
  return HANDLE;
}

/* Empty lines before a request are overlooked, as the RFC asks for. */
static void skip_empty_lines(gr_stream *s) {
  size_t n = 0;
  while (n + 1 < s->in.len && s->in.data[n] == '\r' &&
         s->in.data[n + 1] == '\n')
    n += 2;
  if (n) gr_stream_skip(s, n);
}

static int read_head(lua_State *L, grh_conn *c) {
  gr_stream *s = c->stream;
  for (;;) {
    if (s->in.len && s->in.data[0] == '\r') skip_empty_lines(s);
    if (s->in.len) {
      long n = grh_find_head(&c->http->parser, s->in.data, s->in.len,
                             &c->scanned, &c->server->limits);
      if (n) return n > 0 ? parse(L, c, (size_t)n) : refuse(c, (int)-n);
    }
    if (gr_stream_fd(s) < 0) return CLOSE;
    int got = gr_stream_fill(s, 0, true);
    if (got == -EAGAIN) return AWAIT;
    if (got <= 0) return CLOSE;
  }
}

static int await_head(lua_State *L, gr_state *S, grh_conn *c) {
  gr_stream *s = c->stream;
  double now = gr_now();
  if (c->limit == 0 && s->in.len) c->limit = now + c->server->header;
  if (c->server->stopping && !s->in.len) return CLOSE;
  c->idle = !s->in.len;
  lua_settop(L, TRACE);
  lua_pushnil(L);
  lua_setiuservalue(L, CONN, GRH_V_REQUEST);
  lua_pushnil(L);
  lua_setiuservalue(L, CONN, GRH_V_RESPONSE);
  double at = c->limit > 0 ? c->limit : now + c->server->idle;
  if (!gr_list_empty(&s->reads.waiters))
    gr_check_free(L, S, &s->reads, &request_wait, "the connection");
  return gr_park_io(L, S, &s->reads, at, &request_wait, AWAIT, serve_k);
}

static int head_timed_out(grh_conn *c) {
  if (!c->stream->in.len) return CLOSE;
  c->http->parser.why = "the head took too long";
  return refuse(c, 408);
}

/* --- refusing ----------------------------------------------------------- */

static void put_refusal(lua_State *L, grh_conn *c) {
  int status = c->body.failed;
  const char *why = c->http->parser.why;
  lua_settop(L, TRACE);
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

static int after_put(grh_conn *c, int got) {
  (void)c;
  return got == -EAGAIN ? FLUSH : LOG;
}

static int handled(lua_State *L, grh_conn *c, int status) {
  if (status != LUA_OK && status != LUA_YIELD) return FAIL;
  if (c->taken) return LOG;
  if (c->res->state != GRH_FRESH || lua_gettop(L) == RESPONSE) return FINISH;
  if (lua_gettop(L) == REST && lua_type(L, REST) == LUA_TSTRING)
    return after_put(c, grh_send_body(L, c->res, REST));
  return RESPONDED;
}

static int handle(lua_State *L, grh_conn *c) {
  lua_getiuservalue(L, SERVER, GRH_V_HANDLER);
  lua_pushvalue(L, REQUEST);
  lua_pushvalue(L, RESPONSE);
  int status = lua_pcallk(L, 2, LUA_MULTRET, TRACE, HANDLED, serve_k);
  return handled(L, c, status);
}

static int ended(int status, int next) {
  return status == LUA_OK || status == LUA_YIELD ? next : FAIL;
}

/* Values that are no single string: the Lua side knows what they mean. */
static int respond(lua_State *L) {
  lua_getiuservalue(L, SERVER, GRH_V_RESPOND);
  lua_insert(L, REST);
  lua_pushvalue(L, REQUEST);
  lua_insert(L, REST + 1);
  lua_pushvalue(L, RESPONSE);
  lua_insert(L, REST + 2);
  return ended(
      lua_pcallk(L, lua_gettop(L) - REST, 0, TRACE, RESPONDED, serve_k),
      FINISH);
}

/* The error is on top; its traceback, the user value of the connection. */
static int fail(lua_State *L, grh_conn *c) {
  lua_insert(L, REST);
  lua_settop(L, REST);
  c->ends = true;
  lua_getiuservalue(L, SERVER, GRH_V_FAIL);
  lua_pushvalue(L, REQUEST);
  lua_pushvalue(L, RESPONSE);
  lua_pushvalue(L, REST);
  lua_getiuservalue(L, CONN, GRH_V_TRACE);
  lua_callk(L, 4, 0, FAILED, serve_k);
  return FAILED;
}

/* Whatever it could not send is not sent. */
static int failed(grh_conn *c) {
  if (c->res->state == GRH_STREAMING || c->rest.bytes) c->cut = true;
  if (c->cut || c->gone) return LOG;
  return FINISH;
}

static void push_method(lua_State *L, lua_CFunction f) {
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, f, 1);
}

static int flush(lua_State *L) {
  if (lua_gettop(L) < REST) lua_pushliteral(L, "");
  lua_settop(L, REST);
  push_method(L, grh_flush);
  lua_pushvalue(L, CONN);
  lua_pushvalue(L, REST);
  return ended(lua_pcallk(L, 2, 0, TRACE, FLUSH, serve_k), LOG);
}

static int finish(lua_State *L, grh_conn *c) {
  lua_settop(L, RESPONSE);
  if (c->res->state == GRH_FRESH)
    return after_put(c, grh_end_body(c->res, NULL, 0));
  if (c->res->state == GRH_SENT) return LOG;
  push_method(L, grh_finish);
  lua_pushvalue(L, RESPONSE);
  return ended(lua_pcallk(L, 1, 0, TRACE, FINISH, serve_k), LOG);
}

static int write_log(lua_State *L, grh_conn *c) {
  if (!c->server->logs || c->logged) return DRAIN;
  c->logged = true;
  lua_settop(L, RESPONSE);
  lua_getiuservalue(L, SERVER, GRH_V_LOG);
  lua_pushvalue(L, REQUEST);
  lua_pushvalue(L, RESPONSE);
  lua_pushnumber(L, gr_now() - c->since);
  int status = lua_pcallk(L, 3, 0, TRACE, LOGGED, serve_k);
  return ended(status, DRAIN);
}

static int log_refusal(lua_State *L, grh_conn *c) {
  if (!c->server->logs) return LINGER;
  lua_getiuservalue(L, SERVER, GRH_V_LOG);
  lua_pushnil(L);
  lua_pushvalue(L, SOCKET);
  lua_pushnumber(L, 0);
  lua_pushvalue(L, TRACE + 1);
  lua_pushvalue(L, TRACE + 2);
  (void)lua_pcallk(L, 5, 0, TRACE, REFUSED, serve_k);
  return LINGER;
}

/* --- ends --------------------------------------------------------------- */

/* Take what can be had of the body without waiting. */
static int drain(grh_conn *c) {
  const char *data;
  size_t n;
  int got = 0;
  uint64_t most = c->body.seen + c->server->drain_max;
  if (c->cut || c->gone || c->taken) return CLOSE;
  if (c->body.state == GRH_B_DONE || c->ends) return OVER;
  for (;;) {
    while ((got = grh_body_next(c, &data, &n)) > 0) {
      grh_body_take(c, n);
      if (c->body.seen > most) c->ends = true;
    }
    if (got < 0) c->ends = c->ends || got == -2;
    if (got < 0 || c->ends) return OVER;
    if (gr_stream_fd(c->stream) < 0) return CLOSE;
    got = gr_stream_fill(c->stream, 0, true);
    if (got == -EAGAIN) return AWAIT_DRAIN;
    if (got <= 0) return CLOSE;
  }
}

/* What belonged to the request alone is forgotten. */
static void clear_scopes(lua_State *L, gr_state *S) {
  lua_pushnil(L);
  gr_set_scoped(L, S, GR_T_LOCALS);
  lua_getiuservalue(L, CONN, GRH_V_CONTEXT);
  gr_set_scoped(L, S, GR_T_CONTEXT);
}

static int over(lua_State *L, gr_state *S, grh_conn *c) {
  bool unread = c->body.state != GRH_B_DONE || c->stream->in.len;
  end_turn(c);
  if (S->scoped) clear_scopes(L, S);
  if (!c->ends) return HEAD;
  return unread ? LINGER : CLOSE;
}

/* Closing while the other side still sends would reset the connection, and take
 * what it has not read yet from it. */
static int linger(grh_conn *c) {
  gr_stream *s = c->stream;
  if (gr_stream_fd(s) < 0 || c->gone) return CLOSE;
  if (c->limit >= 0) {
    c->limit = -1;
    c->body.max = 4 << 20;
    c->since = gr_now() + c->server->linger;
    gr_stream_shutdown(s, SHUT_WR);
  }
  for (;;) {
    size_t n = s->in.len;
    if (n > c->body.max) return CLOSE;
    c->body.max -= n;
    if (n) gr_stream_skip(s, n);
    int got = gr_stream_fill(s, 0, true);
    if (got == -EAGAIN) return AWAIT_LINGER;
    if (got <= 0) return CLOSE;
  }
}

static int park(lua_State *L, gr_state *S, grh_conn *c, double at, int state) {
  return gr_park_io(L, S, &c->stream->reads, at, &drain_wait, state, serve_k);
}

/* --- the loop ----------------------------------------------------------- */

static int run(lua_State *L, gr_state *S, grh_conn *c, int state) {
  for (;;) {
    switch (state) {
    case HEAD:
      if (gr_gives_way(L, S, 1)) return gr_let_others(L, S, HEAD, serve_k);
      state = read_head(L, c);
      break;
    case AWAIT:
      if (!c->server->stopping || c->stream->in.len) return await_head(L, S, c);
      state = CLOSE;
      break;
    case HANDLE:
      state = handle(L, c);
      break;
    case RESPONDED:
      state = respond(L);
      break;
    case FAIL:
      state = fail(L, c);
      break;
    case FAILED:
      state = failed(c);
      break;
    case FLUSH:
      state = flush(L);
      break;
    case FINISH:
      state = finish(L, c);
      break;
    case LOG:
      state = write_log(L, c);
      break;
    case DRAIN:
      state = drain(c);
      break;
    case AWAIT_DRAIN:
      return park(L, S, c, gr_now() + c->server->body, AWAIT_DRAIN);
    case OVER:
      state = over(L, S, c);
      break;
    case REFUSE:
      put_refusal(L, c);
      state = log_refusal(L, c);
      break;
    case LINGER:
      state = linger(c);
      break;
    case AWAIT_LINGER:
      return park(L, S, c, c->since, AWAIT_LINGER);
    default:
      lua_settop(L, CONN);
      return 0;
    }
  }
}

/* What comes after what `state` has waited for, or called. */
static int next(lua_State *L, gr_state *S, grh_conn *c, int status, int state) {
  bool late;
  switch (state) {
  case HANDLED:
    return handled(L, c, status);
  case RESPONDED:
    return ended(status, FINISH);
  case FLUSH:
  case FINISH:
    return ended(status, LOG);
  case LOGGED:
    return ended(status, DRAIN);
  case REFUSED:
    return LINGER;
  case FAILED:
    return FAILED;
  default:
    late = gr_woken(L, S, state, serve_k) == GR_TIMEDOUT;
  }
  if (state == HEAD || !late)
    return state == AWAIT          ? HEAD
           : state == AWAIT_DRAIN  ? DRAIN
           : state == AWAIT_LINGER ? LINGER
                                   : state;
  return state == AWAIT ? head_timed_out(c) : CLOSE;
}

static int serve_k(lua_State *L, int status, lua_KContext state) {
  gr_state *S = gr_state_of(L);
  grh_conn *c = lua_touserdata(L, CONN);
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
  lua_pushvalue(L, SOCKET);
  lua_setiuservalue(L, CONN, GRH_V_SOCKET);
  lua_pushvalue(L, SERVER);
  lua_setiuservalue(L, CONN, GRH_V_CONFIG);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &grh_conn_key);
  lua_setmetatable(L, CONN);
  return c;
}

int grh_serve(lua_State *L) {
  gr_state *S = gr_state_of(L);
  gr_stream *s = gr_to_stream(L, 1);
  grh_server *sv = grh_check_server(L, 2);
  luaL_argexpected(L, s, 1, "connected socket");
  lua_settop(L, 3);
  grh_conn *c = new_conn(L, s, sv);
  if (!lua_isnil(L, ADDRESS)) {
    lua_pushvalue(L, ADDRESS);
    lua_setiuservalue(L, CONN, GRH_V_ADDRESS);
  }
  lua_toclose(L, CONN);
  gr_list_append(&sv->conns, &c->node);
  sv->count++;
  c->limit = gr_now() + sv->header;
  if (S->scoped) {
    gr_push_scoped(L, S, GR_T_CONTEXT);
    lua_setiuservalue(L, CONN, GRH_V_CONTEXT);
  }
  lua_pushvalue(L, CONN);
  lua_pushcclosure(L, keep_trace, 1);
  return run(L, S, c, HEAD);
}

/* --- its end ------------------------------------------------------------ */

static void leave(grh_conn *c) {
  grh_server *sv = c->server;
  end_turn(c);
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
