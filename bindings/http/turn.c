/* What a turn begins with, and how it ends: heads, bodies that nobody reads,
 * the last bytes of a connection. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc.h"
#include "http.h"

enum { LINGER = 4 << 20 }; /* bytes that are read at most before a close */

/* --- a turn ------------------------------------------------------------- */

void grh_end_turn(grh_conn *c) {
  if (c->res) c->stream->gathers = false;
  if (c->req) c->req->c = NULL;
  if (c->res) c->res->c = NULL;
  c->req = NULL;
  c->res = NULL;
  if (c->spill) gr_free(c->spill);
  c->spill = NULL;
  if (c->trailer) grh_drop_trailer(c);
  if (c->gzip) grh_gzip_drop(c);
  if (c->rest.bytes) grh_rest_drop(c);
}

static void begin_turn(lua_State *L, grh_conn *c, size_t n) {
  lua_settop(L, GRH_I_TRACE);
  c->req = grh_new_request(L, c, c->stream->in.data, n);
  lua_pushvalue(L, GRH_I_CONN);
  lua_setiuservalue(L, GRH_I_REQUEST, 2);
  lua_pushvalue(L, GRH_I_REQUEST);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_REQUEST);
  c->res = grh_new_response(L, c);
  lua_pushvalue(L, GRH_I_CONN);
  lua_setiuservalue(L, GRH_I_RESPONSE, 2);
  lua_pushvalue(L, GRH_I_RESPONSE);
  lua_setiuservalue(L, GRH_I_CONN, GRH_V_RESPONSE);
  /* Whoever asks for a tunnel may take what follows for what came through. */
  c->ends = !c->req->head.keep_alive || c->req->head.method == HTTP_CONNECT;
  c->idle = c->logged = c->cut = false;
  c->scanned = 0;
  c->limit = 0;
  grh_body_start(c, &c->req->head, c->server->body_max);
  grh_pace_start(c);
  c->body.on_trailer = grh_keep_trailer;
  if (c->server->logs) c->since = gr_hub_now(gr_stream_hub(c->stream));
  c->server->requests++;
  gr_stream_skip(c->stream, n);
}

/* --- heads -------------------------------------------------------------- */

static int refuse(grh_conn *c, int status) {
  c->body.failed = (uint16_t)status;
  return GRH_S_REFUSE;
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
  return GRH_S_HANDLE;
}

/* Empty lines before a request are overlooked, as the RFC asks for. */
static void skip_empty_lines(grh_conn *c) {
  gr_stream *s = c->stream;
  size_t n = 0;
  while (n + 1 < s->in.len && s->in.data[n] == '\r' &&
         s->in.data[n + 1] == '\n')
    n += 2;
  if (n) gr_stream_skip(s, n);
  if (n && c->limit == 0)
    c->limit = gr_hub_now(gr_stream_hub(c->stream)) + c->server->header;
}

int grh_read_head(lua_State *L, grh_conn *c) {
  gr_stream *s = c->stream;
  for (;;) {
    if (s->in.len && s->in.data[0] == '\r') skip_empty_lines(c);
    if (s->in.len) {
      long n = grh_find_head(&c->http->parser, s->in.data, s->in.len,
                             &c->scanned, &c->server->limits);
      if (n) return n > 0 ? parse(L, c, (size_t)n) : refuse(c, (int)-n);
    }
    if (gr_stream_fd(s) < 0) return GRH_S_CLOSE;
    int got = gr_stream_fill(s, 0, true);
    if (got == -EAGAIN) return GRH_S_AWAIT;
    if (got <= 0) return GRH_S_CLOSE;
  }
}

int grh_head_timed_out(grh_conn *c) {
  if (!c->stream->in.len) return GRH_S_CLOSE;
  c->http->parser.why = "the head took too long";
  return refuse(c, 408);
}

/* --- ends --------------------------------------------------------------- */

/* Where only the end of the connection tells the end of the body, a cut must
 * look like one. */
static void cut(grh_conn *c) {
  const grh_response *r = c->res;
  const struct linger now = {.l_onoff = 1};
  if (r && r->state != GRH_FRESH && !r->sized && !r->chunked)
    setsockopt(gr_stream_fd(c->stream), SOL_SOCKET, SO_LINGER, &now,
               sizeof now);
}

/* What is left of a body is limited, in bytes and in time. */
static void begin_drain(grh_conn *c) {
  grh_body *b = &c->body;
  uint64_t max = c->server->drain_max;
  c->limit = gr_hub_now(gr_stream_hub(c->stream)) + c->server->body;
  b->drained = true;
  b->on_trailer = NULL;
  b->max = b->seen + max;
  if (b->left > max) c->ends = true;
}

int grh_drain(grh_conn *c) {
  const char *data;
  size_t n;
  int got;
  /* Whoever sent it was interrupted, or is left alone with it. */
  if (c->rest.bytes && !c->taken) c->cut = true;
  if (c->cut) cut(c);
  if (c->cut || c->gone || c->taken) return GRH_S_CLOSE;
  if (c->body.state == GRH_B_DONE) return GRH_S_OVER;
  if (!c->body.drained) begin_drain(c);
  if (c->ends) return GRH_S_OVER;
  for (;;) {
    while ((got = grh_body_next(c, &data, &n)) > 0) grh_body_take(c, n);
    if (got < 0) return GRH_S_OVER;
    if (gr_stream_fd(c->stream) < 0) return GRH_S_CLOSE;
    got = gr_stream_fill(c->stream, 0, true);
    if (got == -EAGAIN) return GRH_S_AWAIT_DRAIN;
    if (got <= 0) return GRH_S_CLOSE;
  }
}

static void begin_linger(grh_conn *c) {
  c->lingers = true;
  c->body.max = LINGER;
  c->limit = gr_hub_now(gr_stream_hub(c->stream)) + c->server->linger;
  gr_stream_shutdown(c->stream, SHUT_WR);
}

/* Closing while the other side still sends would reset the connection, and take
 * what it has not read yet from it. */
int grh_linger(grh_conn *c) {
  gr_stream *s = c->stream;
  if (gr_stream_fd(s) < 0 || c->gone) return GRH_S_CLOSE;
  if (!c->lingers) begin_linger(c);
  for (;;) {
    size_t n = s->in.len;
    if (n > c->body.max) return GRH_S_CLOSE;
    c->body.max -= n;
    if (n) gr_stream_skip(s, n);
    int got = gr_stream_fill(s, 0, true);
    if (got == -EAGAIN) return GRH_S_AWAIT_LINGER;
    if (got <= 0) return GRH_S_CLOSE;
  }
}
