/* What a client reads its responses with: heads, and bodies by their framing.
 *
 * A reader belongs to a connection for as long as that lasts.  It uses the
 * parts of a grh_conn that have to do with the input; there is no server. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "alloc.h"
#include "http.h"

const char grh_answer_key;

static const char reader_key;

static const gr_wait response_wait = {.name = "response"};

typedef struct reader {
  const void *magic;
  grh_conn c; /* stream, body, scanned, ends, http */
  grh_limits limits;
  double idle, deadline; /* seconds of a wait; when all of it must be over */
  grh_head head;         /* the last one */
  bool to_end;           /* the body ends with the connection */
  bool begun;            /* something of the head has come */
  bool over;             /* nothing more can be read */
  char *trailer;         /* lines, each with its CRLF */
  size_t trailer_len;
} reader;

enum { SOCKET = 1 }; /* user value */

enum { HEAD, BODY }; /* what is being read */

static reader *check_reader(lua_State *L) {
  reader *r = lua_touserdata(L, 1);
  if (!r || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) != sizeof *r ||
      r->magic != &reader_key)
    luaL_typeerror(L, 1, "reader");
  return r;
}

/* A timeout is not the end: it can be asked again. */
static int time_out(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  return 2;
}

static int stop(lua_State *L, reader *r, const char *message) {
  r->over = true;
  lua_pushnil(L);
  lua_pushstring(L, message);
  return 2;
}

/* --- heads -------------------------------------------------------------- */

static int refuse_head(lua_State *L, reader *r, int status) {
  const char *why = r->c.http->parser.why;
  if (status == 414) why = "the status line is too long";
  lua_pushfstring(L, "bad response: %s", why ? why : "it cannot be parsed");
  return stop(L, r, lua_tostring(L, -1));
}

/* "HTTP/1.1 200 OK": what follows the status. */
static void push_reason(lua_State *L, const char *data, size_t len) {
  const char *end = memchr(data, '\r', len);
  const char *at = data + 12;
  if (at < end && *at == ' ') at++;
  lua_pushlstring(L, at, at < end ? (size_t)(end - at) : 0);
}

static bool good_status(const char *data, size_t len) {
  static const char shape[] = "HTTP/1.";
  if (len < 14 || memcmp(data, shape, 7) || data[8] != ' ') return false;
  for (int i = 9; i < 12; i++)
    if (data[i] < '0' || data[i] > '9') return false;
  return data[9] > '0' && (data[12] == ' ' || data[12] == '\r');
}

static int take_head(lua_State *L, reader *r) {
  gr_stream *s = r->c.stream;
  grh_parser *p = &r->c.http->parser;
  if (!s->in.len) return 0;
  r->begun = true;
  p->why = NULL;
  long len = grh_find_head(p, s->in.data, s->in.len, &r->c.scanned, &r->limits);
  if (len < 0) return refuse_head(L, r, (int)-len);
  if (!len) return 0;
  p->why = "a bad status line";
  if (!good_status(s->in.data, (size_t)len)) return refuse_head(L, r, 400);
  int bad = grh_parse_head(p, HTTP_RESPONSE, s->in.data, (size_t)len);
  if (bad) return refuse_head(L, r, bad);
  r->head = p->head;
  r->c.scanned = 0;
  grh_new_message(L, p, s->in.data, (size_t)len, &grh_answer_key);
  lua_pushinteger(L, r->head.status);
  push_reason(L, s->in.data, (size_t)len);
  lua_pushstring(L, r->head.minor ? "1.1" : "1.0");
  gr_stream_skip(s, (size_t)len);
  return 4;
}

/* --- bodies ------------------------------------------------------------- */

static bool keep_trailer(grh_conn *c, const char *line, size_t n) {
  reader *r = (reader *)((char *)c - offsetof(reader, c));
  char *to = gr_realloc(r->trailer, r->trailer_len + n + 2);
  if (!to) return false;
  memcpy(to + r->trailer_len, line, n);
  memcpy(to + r->trailer_len + n, "\r\n", 2);
  r->trailer = to;
  r->trailer_len += n + 2;
  return true;
}

static void drop_trailer(reader *r) {
  gr_free(r->trailer);
  r->trailer = NULL;
  r->trailer_len = 0;
}

/* body(reader, without) -> its length, 0 if it is known to be `without` one;
 * nil: unknown.  It is that of the last head. */
static int begin_body(lua_State *L) {
  reader *r = check_reader(L);
  grh_head head = r->head;
  bool none = lua_toboolean(L, 2);
  if (none) head.framing = GRH_NO_BODY;
  head.expect = GRH_EXPECT_NOTHING;
  drop_trailer(r);
  grh_body_start(&r->c, &head, UINT64_MAX / 4);
  r->c.body.on_trailer = keep_trailer;
  r->to_end = !none && head.framing == GRH_NO_BODY;
  if (r->to_end) {
    r->c.body.state = GRH_B_DATA;
    r->c.body.left = UINT64_MAX / 2;
  }
  if (head.framing == GRH_CHUNKED || r->to_end)
    lua_pushnil(L);
  else
    lua_pushinteger(L, none ? 0 : (lua_Integer)head.length);
  return 1;
}

static int take_body(lua_State *L, reader *r) {
  const char *data;
  size_t n;
  if (r->over) return stop(L, r, "closed");
  int got = grh_body_next(&r->c, &data, &n);
  if (got == -1) return lua_pushnil(L), 1;
  if (got == -2)
    return stop(L, r,
                r->c.body.failed == 500 ? "not enough memory"
                                        : "bad response: a bad chunk");
  if (!got) return 0;
  lua_Integer max = lua_tointeger(L, 2);
  if ((lua_Integer)n > max) n = (size_t)max;
  lua_pushlstring(L, data, n);
  grh_body_take(&r->c, n);
  return 1;
}

/* --- waiting ------------------------------------------------------------ */

/* `got`: 0 at the end of the stream, or -errno. */
static int at_end(lua_State *L, reader *r, int what, int got) {
  if (what == BODY && r->to_end && !got) {
    r->c.body.state = GRH_B_DONE;
    r->over = true;
    return lua_pushnil(L), 1;
  }
  if (got == -ENOMEM) return stop(L, r, "not enough memory");
  return stop(L, r, "closed");
}

static int read_k(lua_State *L, int status, lua_KContext ctx);

static int wait_more(lua_State *L, gr_state *S, reader *r, int what) {
  double at = gr_hub_now(&S->hub) + r->idle;
  gr_io *side = &r->c.stream->reads;
  if (at > r->deadline) at = r->deadline;
  gr_check_free(L, S, side, &response_wait, "the connection");
  return gr_park_io(L, S, side, at, &response_wait, what, read_k);
}

static int read_on(lua_State *L, gr_state *S, reader *r, int what, bool last) {
  gr_stream *s = r->c.stream;
  for (;;) {
    int results = what == HEAD ? take_head(L, r) : take_body(L, r);
    if (results) return results;
    if (gr_stream_fd(s) < 0) return stop(L, r, "closed");
    int got = gr_stream_fill(s, 0, !last);
    if (got > 0) continue;
    if (got != -EAGAIN) return at_end(L, r, what, got);
    if (last) return time_out(L);
    return wait_more(L, S, r, what);
  }
}

static int read_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, read_k);
  return read_on(L, S, lua_touserdata(L, 1), (int)ctx, how == GR_TIMEDOUT);
}

/* head(reader) -> head, status, reason, version | nil, message.  May block. */
static int read_head(lua_State *L) {
  gr_state *S = gr_state_of(L);
  reader *r = check_reader(L);
  lua_settop(L, 1);
  if (r->over) return stop(L, r, "closed");
  return read_on(L, S, r, HEAD, false);
}

/* read_some(reader [, max]) -> bytes | nil at the end | nil, message.  May
 * block. */
static int read_some(lua_State *L) {
  gr_state *S = gr_state_of(L);
  reader *r = check_reader(L);
  lua_Integer max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  luaL_argcheck(L, max > 0, 2, "max: at least one byte");
  lua_settop(L, 1);
  lua_pushinteger(L, max);
  if (r->c.body.state == GRH_B_DONE) return lua_pushnil(L), 1;
  if (gr_gives_way(L, S, 1)) return gr_let_others(L, S, BODY, read_k);
  return read_on(L, S, r, BODY, false);
}

/* --- the state of a connection -------------------------------------------- */

/* patience(reader, idle, deadline): seconds of a wait, or nil; when all of it
 * must be over, or nil */
static int patience(lua_State *L) {
  reader *r = check_reader(L);
  r->idle = luaL_optnumber(L, 2, INFINITY);
  r->deadline = luaL_optnumber(L, 3, INFINITY);
  return 0;
}

/* begun(reader) -> has anything come since the last `rewind`? */
static int begun(lua_State *L) {
  reader *r = check_reader(L);
  lua_pushboolean(L, r->begun || (gr_stream_fd(r->c.stream) >= 0 &&
                                  r->c.stream->in.len > 0));
  return 1;
}

/* ended(reader) -> has the whole body been read? */
static int ended(lua_State *L) {
  lua_pushboolean(L, check_reader(L)->c.body.state == GRH_B_DONE);
  return 1;
}

static bool is_quiet(const reader *r) {
  const gr_stream *s = r->c.stream;
  return !r->over && gr_stream_fd(s) >= 0 && !s->in.len &&
         !gr_stream_dirty(s) && !s->error;
}

/* reusable(reader) -> is the response over, and may another request follow? */
static int reusable(lua_State *L) {
  reader *r = check_reader(L);
  lua_pushboolean(L, r->head.keep_alive && r->c.body.state == GRH_B_DONE &&
                         !r->c.ends && is_quiet(r));
  return 1;
}

/* rewind(reader) -> true: ready for the next response; false: the other side
 * has closed, or said what it was not asked for */
static int rewind_reader(lua_State *L) {
  reader *r = check_reader(L);
  r->begun = false;
  bool good = is_quiet(r) && gr_stream_fill(r->c.stream, 0, false) == -EAGAIN;
  lua_pushboolean(L, good && is_quiet(r));
  return 1;
}

/* trailer(reader) -> the lines of the trailer | nil */
static int trailer(lua_State *L) {
  reader *r = check_reader(L);
  if (!r->trailer) return 0;
  lua_pushlstring(L, r->trailer, r->trailer_len);
  return 1;
}

/* --- the object --------------------------------------------------------- */

static uint32_t limit(lua_State *L, const char *name, uint32_t most) {
  lua_getfield(L, 2, name);
  lua_Integer n = luaL_optinteger(L, -1, most);
  lua_pop(L, 1);
  return n < 1 ? 1 : n > most ? most : (uint32_t)n;
}

/* reader(socket, limits) */
static int new_reader(lua_State *L) {
  gr_stream *s = gr_to_stream(L, 1);
  if (!s) return luaL_typeerror(L, 1, "connected socket");
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  reader *r = lua_newuserdatauv(L, sizeof *r, 1);
  memset(r, 0, sizeof *r);
  r->magic = &reader_key;
  r->c.stream = s;
  r->c.http = lua_touserdata(L, lua_upvalueindex(2));
  r->limits.line = limit(L, "max_line", 1 << 20);
  r->limits.head = limit(L, "max_head", 1 << 20);
  r->limits.fields = limit(L, "max_headers", GRH_FIELDS);
  r->idle = r->deadline = INFINITY;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, SOCKET);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &reader_key);
  lua_setmetatable(L, -2);
  return 1;
}

static int free_reader(lua_State *L) {
  drop_trailer(check_reader(L));
  return 0;
}

static void open_class(lua_State *L, gr_state *S, const void *key,
                       const char *name, const luaL_Reg *methods) {
  lua_createtable(L, 0, 3);
  lua_newtable(L);
  gr_setfuncs(L, S, methods);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void grh_open_client(lua_State *L, grh_http *h) {
  static const luaL_Reg methods[] = {
      {"head", read_head},      {"body", begin_body},
      {"read_some", read_some}, {"patience", patience},
      {"begun", begun},         {"ended", ended},
      {"reusable", reusable},   {"rewind", rewind_reader},
      {"trailer", trailer},     {NULL, NULL}};
  open_class(L, h->S, &grh_answer_key, "head", grh_message_methods);
  lua_pop(L, 1);
  open_class(L, h->S, &reader_key, "reader", methods);
  lua_pushcfunction(L, free_reader);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_pushlightuserdata(L, h->S);
  lua_pushlightuserdata(L, h);
  lua_pushcclosure(L, new_reader, 2);
  lua_setfield(L, -2, "reader");
}
