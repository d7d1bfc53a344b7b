/* The body of a message: its framing; and reading a request's. */
#include <errno.h>
#include <string.h>

#include "http.h"

enum {
  CHUNK_LINE = 4096, /* bytes, extensions included */
  TRAILER_LINE = 1 << 20
};

void grh_body_start(grh_conn *c, const grh_head *head, uint64_t max) {
  grh_body *b = &c->body;
  *b = (grh_body){.state = GRH_B_DONE, .max = max};
  b->expected = head->expect == GRH_EXPECT_CONTINUE && head->minor;
  if (head->framing == GRH_CHUNKED) {
    b->chunked = true;
    b->state = GRH_B_SIZE;
  } else if (head->framing == GRH_LENGTH && head->length) {
    b->left = head->length;
    b->state = GRH_B_DATA;
  } else {
    b->expected = false;
  }
}

/* --- chunks ------------------------------------------------------------- */

static int broken(grh_conn *c, int status) {
  c->body.failed = (uint16_t)status;
  c->ends = true;
  return -2;
}

/* The line that the input begins with: its length without CRLF, -1: it is not
 * there yet, -2: it is bad. */
static long whole_line(grh_conn *c, size_t max) {
  const gr_buffer *in = &c->stream->in;
  const char *end = in->len ? memchr(in->data, '\n', in->len) : NULL;
  if (!end) return in->len > max ? broken(c, 400) : -1;
  size_t n = (size_t)(end - in->data);
  if (!n || n > max || end[-1] != '\r' || memchr(in->data, '\r', n - 1))
    return broken(c, 400);
  return (long)n - 1;
}

static int digit(char ch) {
  if (ch >= '0' && ch <= '9') return ch - '0';
  ch = (char)(ch | 0x20);
  return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static const char *skip_blank(const char *s, const char *end) {
  while (s < end && (*s == ' ' || *s == '\t')) s++;
  return s;
}

static const char *skip_token(const char *s, const char *end) {
  while (s < end && grh_is_token(s, 1)) s++;
  return s;
}

/* NULL: it does not end. */
static const char *skip_quoted(const char *s, const char *end) {
  for (s++; s < end && *s != '"'; s++)
    if (((unsigned char)*s < ' ' && *s != '\t') || *s == 127 ||
        (*s == '\\' && ++s == end))
      return NULL;
  return s < end ? s + 1 : NULL;
}

/* ";name=value;name" …: what is not that could hide the end of the line from
 * somebody. */
static bool good_extensions(const char *s, const char *end) {
  while (s && s < end) {
    s = skip_blank(s, end);
    if (s == end || *s != ';') return false;
    const char *name = skip_blank(s + 1, end);
    s = skip_token(name, end);
    if (s == name) return false;
    const char *value = skip_blank(s, end);
    if (value == end || *value != '=') continue;
    value = skip_blank(value + 1, end);
    if (value == end) return false;
    s = *value == '"' ? skip_quoted(value, end) : skip_token(value, end);
    if (s == value) return false;
  }
  return s != NULL;
}

/* "1f;name=value": extensions are looked over and left. */
static bool parse_size(const char *s, size_t n, uint64_t *size) {
  size_t i = 0;
  *size = 0;
  for (; i < n && digit(s[i]) >= 0; i++) {
    if (i == 15) return false;
    *size = *size << 4 | (uint64_t)digit(s[i]);
  }
  return i && good_extensions(s + i, s + n);
}

/* 1: go on; else as grh_body_next. */
static int read_size(grh_conn *c) {
  uint64_t size;
  long n = whole_line(c, CHUNK_LINE);
  if (n < 0) return n == -1 ? 0 : -2;
  if (!parse_size(c->stream->in.data, (size_t)n, &size)) return broken(c, 400);
  gr_stream_skip(c->stream, (size_t)n + 2);
  if (size > c->body.max - c->body.seen) return broken(c, 413);
  c->body.left = size;
  c->body.state = size ? GRH_B_DATA : GRH_B_TRAILER;
  return 1;
}

static int read_data_end(grh_conn *c) {
  const gr_buffer *in = &c->stream->in;
  if (in->len && in->data[0] != '\r') return broken(c, 400);
  if (in->len < 2) return 0;
  if (in->data[1] != '\n') return broken(c, 400);
  gr_stream_skip(c->stream, 2);
  c->body.state = GRH_B_SIZE;
  return 1;
}

static bool good_trailer(const char *s, size_t n) {
  const char *colon = memchr(s, ':', n);
  if (!colon || !grh_is_token(s, (size_t)(colon - s))) return false;
  for (const char *at = colon; at < s + n; at++)
    if (((unsigned char)*at < ' ' && *at != '\t') || *at == 127) return false;
  return true;
}

static int read_trailer(grh_conn *c) {
  long n = whole_line(c, TRAILER_LINE);
  if (n == -2) return -2;
  size_t come = n < 0 ? c->stream->in.len : (size_t)n;
  if (n && grh_trailer_is_full(c, come < 2 ? 0 : come - 2 * (n < 0)))
    return broken(c, 400);
  if (n < 0) return 0;
  if (n && !good_trailer(c->stream->in.data, (size_t)n)) return broken(c, 400);
  c->body.lines++;
  if (n && c->body.on_trailer &&
      !c->body.on_trailer(c, c->stream->in.data, (size_t)n))
    return broken(c, 500);
  gr_stream_skip(c->stream, (size_t)n + 2);
  if (n) return 1;
  c->body.state = GRH_B_DONE;
  return -1;
}

int grh_body_next(grh_conn *c, const char **data, size_t *n) {
  grh_body *b = &c->body;
  int got = 1;
  while (got == 1) {
    switch (b->state) {
    case GRH_B_DONE:
      return -1;
    case GRH_B_DATA:
      *data = c->stream->in.data;
      *n = c->stream->in.len;
      if (*n > b->left) *n = (size_t)b->left;
      return *n > 0;
    case GRH_B_SIZE:
      if (b->failed) return -2;
      got = read_size(c);
      break;
    case GRH_B_DATA_END:
      got = read_data_end(c);
      break;
    default:
      got = read_trailer(c);
    }
  }
  return got;
}

void grh_body_take(grh_conn *c, size_t n) {
  grh_body *b = &c->body;
  gr_stream_skip(c->stream, n);
  b->left -= n;
  b->seen += n;
  if (!b->left) b->state = b->chunked ? GRH_B_DATA_END : GRH_B_DONE;
}

/* --- reading ------------------------------------------------------------ */

static const gr_wait read_wait = {.name = "read"};

static int fail_body(lua_State *L, const grh_conn *c) {
  lua_pushnil(L);
  lua_pushstring(L, c->body.failed == 413   ? "too large"
                    : c->body.failed == 408 ? "timeout"
                    : c->body.failed == 499 ? "closed"
                                            : "bad chunk");
  return 2;
}

static int stop_body(lua_State *L, grh_conn *c, int status) {
  (void)broken(c, status);
  c->body.state = GRH_B_SIZE; /* nothing can be made of what follows */
  return fail_body(L, c);
}

static int read_k(lua_State *L, int status, lua_KContext ctx);

/* How long it may be waited for in all: a rate is an average, from the end of
 * the grace on; the time in which the handler does other things is its own. */
static double patience(const grh_conn *c) {
  const grh_server *s = c->server;
  double most = s->body_time;
  if (s->body_rate > 0) {
    double rated = s->grace + (double)c->body.seen / s->body_rate;
    if (rated < most) most = rated;
  }
  return most - c->body.waited;
}

static int wait_body(lua_State *L, gr_state *S, grh_conn *c) {
  double now = gr_hub_now(&S->hub), most = patience(c);
  double at = now + (c->server->body < most ? c->server->body : most);
  c->body.since = now;
  gr_check_free(L, S, &c->stream->reads, &read_wait, "the request");
  return gr_park_io(L, S, &c->stream->reads, at, &read_wait, 0, read_k);
}

/* Serve from the input: results, or 0 if more is needed. */
static int take_body(lua_State *L, grh_conn *c) {
  const char *data;
  size_t n;
  if (c->body.failed) return fail_body(L, c);
  int got = grh_body_next(c, &data, &n);
  if (got == -1) return lua_pushnil(L), 1;
  if (got == -2) return fail_body(L, c);
  if (!got) return 0;
  lua_Integer max = lua_tointeger(L, 2);
  if ((lua_Integer)n > max) n = (size_t)max;
  lua_pushlstring(L, data, n);
  grh_body_take(c, n);
  return 1;
}

static int read_on(lua_State *L, gr_state *S, grh_conn *c, bool last) {
  for (;;) {
    int results = take_body(L, c);
    if (results) return results;
    if (gr_stream_fd(c->stream) < 0) return stop_body(L, c, 499);
    int got = gr_stream_fill(c->stream, 0, !last);
    if (got > 0) continue;
    if (got != -EAGAIN) return stop_body(L, c, 499);
    if (last) return stop_body(L, c, 408);
    return wait_body(L, S, c);
  }
}

static int read_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, read_k);
  grh_request *r = lua_touserdata(L, 1);
  if (!r->c) return luaL_error(L, "the request is over");
  grh_body *b = &r->c->body;
  if (b->since > 0) b->waited += gr_hub_now(&S->hub) - b->since;
  b->since = 0;
  return read_on(L, S, r->c, how == GR_TIMEDOUT);
}

/* Not waited for: what the kernel does not take now goes out before whatever
 * follows it. */
static void go_ahead(grh_conn *c) {
  static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct iovec piece = {text, sizeof text - 1};
  c->body.expected = false;
  if (c->gone || !c->res || c->res->state != GRH_FRESH || c->rest.bytes) return;
  if (gr_stream_queue(c->stream, &piece, 1)) c->gone = c->ends = true;
}

/* read_some(req [, max]) -> bytes | nil at the end | nil, message */
static int read_some(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grh_request *r = grh_check_request(L, 1);
  lua_Integer max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  luaL_argcheck(L, max > 0, 2, "max: at least one byte");
  if (!r->c) return luaL_error(L, "the request is over");
  lua_settop(L, 1);
  lua_pushinteger(L, max);
  grh_conn *c = r->c;
  if (c->taken) return lua_pushnil(L), 1;
  c->body.since = 0;
  if (c->body.expected) go_ahead(c);
  if (gr_gives_way(L, S, 1)) return gr_let_others(L, S, 0, read_k);
  return read_on(L, S, c, false);
}

/* _refuse_body(req, status): it is not read further */
static int refuse_body(lua_State *L) {
  grh_request *r = grh_check_request(L, 1);
  lua_Integer status = luaL_checkinteger(L, 2);
  if (r->c && r->c->body.state != GRH_B_DONE)
    (void)stop_body(L, r->c, (int)status);
  else if (r->c)
    r->c->body.failed = (uint16_t)status;
  return 0;
}

const luaL_Reg grh_body_methods[] = {
    {"read_some", read_some}, {"_refuse_body", refuse_body}, {NULL, NULL}};
