/* Reading from a socket: one path for all patterns. */
#include <errno.h>
#include <string.h>

#include "socket.h"

static const gr_wait receive_wait = {.name = "receive"};

/* What is to be read; the arguments from index 2 on belong to it. */
enum {
  LINE,  /* (pattern, prefix) */
  ALL,   /* (pattern, prefix) */
  EXACT, /* (size, prefix) */
  SOME,  /* (max) */
  UNTIL, /* (delimiter, max) */
  NEXT   /* a line for an iterator */
};

/* --- from the buffer ---------------------------------------------------- */

/* Push a line without its carriage returns, as LuaSocket does. */
static void push_line(lua_State *L, const char *data, size_t n) {
  if (n && data[n - 1] == '\r') n--;
  if (!memchr(data, '\r', n)) {
    lua_pushlstring(L, data, n);
    return;
  }
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, n);
  size_t kept = 0;
  for (size_t i = 0; i < n; i++)
    if (data[i] != '\r') to[kept++] = data[i];
  luaL_pushresultsize(&b, kept);
}

/* Put the prefix, if there is one, before the string on top. */
static void add_prefix(lua_State *L) {
  if (lua_isnoneornil(L, 3)) return;
  lua_pushvalue(L, 3);
  lua_insert(L, -2);
  lua_concat(L, 2);
}

static int success(lua_State *L, int mode) {
  if (mode >= SOME) return 1;
  add_prefix(L);
  lua_pushnil(L);
  lua_pushnil(L);
  return 3;
}

/* Push the first `n` bytes, then take them and `more`. */
static int take(lua_State *L, gr_stream *st, int mode, size_t n, size_t more) {
  if (mode == LINE || mode == NEXT)
    push_line(L, st->in.data, n);
  else
    lua_pushlstring(L, st->in.data, n);
  if (n + more) gr_stream_skip(st, n + more);
  return success(L, mode);
}

static int take_line(lua_State *L, gr_stream *st, int mode) {
  const char *data = st->in.data;
  size_t len = st->in.len;
  if (len == st->searched) return 0;
  const char *end = memchr(data + st->searched, '\n', len - st->searched);
  if (end) return take(L, st, mode, (size_t)(end - data), 1);
  st->searched = len;
  return 0;
}

static int too_long(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "too long");
  return 2;
}

static int take_until(lua_State *L, gr_stream *st) {
  size_t size, len = st->in.len;
  const char *delimiter = lua_tolstring(L, 2, &size), *data = st->in.data;
  lua_Integer max = luaL_optinteger(L, 3, LUA_MAXINTEGER);
  if (len < size) return 0;
  const char *end =
      memmem(data + st->searched, len - st->searched, delimiter, size);
  st->searched = end ? (size_t)(end - data) : len - size + 1;
  if (st->searched > (size_t)max) return too_long(L);
  return end ? take(L, st, UNTIL, st->searched, size) : 0;
}

static int take_some(lua_State *L, gr_stream *st) {
  size_t n = st->in.len, max = (size_t)lua_tointeger(L, 2);
  return take(L, st, SOME, n < max ? n : max, 0);
}

/* How many bytes an EXACT read wants from the stream. */
static size_t wanted(lua_State *L) {
  size_t n = (size_t)lua_tointeger(L, 2), prefix = lua_rawlen(L, 3);
  return n > prefix ? n - prefix : 0;
}

/* Serve a read from the buffer: how many results, 0 if it needs more bytes. */
static int serve(lua_State *L, gr_stream *st, int mode) {
  if (!st->in.len) return 0;
  switch (mode) {
  case LINE:
  case NEXT:
    return take_line(L, st, mode);
  case EXACT:
    if (st->in.len < wanted(L)) return 0;
    return take(L, st, EXACT, wanted(L), 0);
  case SOME:
    return take_some(L, st);
  case UNTIL:
    return take_until(L, st);
  default:
    return 0;
  }
}

/* --- from the wire ------------------------------------------------------ */

/* nil, message, and what there is. */
static int partial(lua_State *L, gr_stream *st, int mode, int err) {
  size_t n = st->in.len;
  lua_pushnil(L);
  lua_pushstring(L, grb_stream_message(st, GRB_READ, err));
  if (!n)
    lua_pushliteral(L, "");
  else if (mode == LINE)
    push_line(L, st->in.data, n);
  else
    lua_pushlstring(L, st->in.data, n);
  if (n) gr_stream_skip(st, n);
  if (mode < SOME) add_prefix(L);
  return 3;
}

/* An iterator ends with the connection, however that ends.  What is no end
 * is raised: a loop has no other way to tell. */
static int stop_lines(lua_State *L, gr_stream *st, int err) {
  if (err == ETIMEDOUT || err == ENOMEM || err == EPROTO)
    return luaL_error(L, "%s", grb_stream_message(st, GRB_READ, err));
  if (!err && st->in.len) return take(L, st, NEXT, st->in.len, 0);
  lua_pushnil(L);
  return 1;
}

/* There is no more: 0: the end of the stream; ETIMEDOUT; another errno. */
static int stop(lua_State *L, gr_stream *st, int mode, int err) {
  if (mode == NEXT) return stop_lines(L, st, err);
  if (mode == ALL && !err && st->in.len) return take(L, st, ALL, st->in.len, 0);
  return partial(L, st, mode, err);
}

static int receive_k(lua_State *L, int status, lua_KContext mode);

/* `last`: there is no time left to wait, but what has come counts. */
static int go_on(lua_State *L, gr_state *S, grb_socket *s, int mode,
                 bool last) {
  gr_stream *st = &s->stream;
  int results = 0;
  do {
    if (grb_fd(s) < 0) return stop(L, st, mode, 0);
    int got = gr_stream_fill(st, mode == EXACT ? wanted(L) : 0, !last);
    if (got == -EAGAIN && !last)
      return grb_wait(L, S, s, GRB_READ, &receive_wait, mode, receive_k);
    if (got <= 0 && got != -EAGAIN) return stop(L, st, mode, -got);
    if (grb_gives_way(L, S, got < 0))
      return grb_give_way(L, S, mode, receive_k);
    if (got < 0) return stop(L, st, mode, ETIMEDOUT);
    results = serve(L, st, mode);
  } while (!results);
  return results;
}

static int receive_k(lua_State *L, int status, lua_KContext mode) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, mode, receive_k);
  grb_socket *s = lua_touserdata(L, 1);
  int results = serve(L, &s->stream, (int)mode);
  if (results) return results;
  return go_on(L, S, s, (int)mode, how == GR_TIMEDOUT || grb_polls(s));
}

static int start(lua_State *L, grb_socket *s, int mode) {
  gr_state *S = gr_state_of(L);
  if (!gr_list_empty(&s->stream.reads.waiters))
    grb_check_free(L, S, s, GRB_READ, &receive_wait);
  s->stream.searched = 0;
  int results = serve(L, &s->stream, mode);
  if (results) return results;
  grb_begin(s, GRB_READ);
  return go_on(L, S, s, mode, grb_polls(s));
}

/* --- methods ------------------------------------------------------------ */

/* Make the size at index 2 an integer. */
static int exact(lua_State *L) {
  double n = lua_tonumber(L, 2);
  luaL_argcheck(L, n >= 0, 2, "invalid receive pattern");
  lua_pushinteger(L, n < 0x1p62 ? (lua_Integer)n : LUA_MAXINTEGER);
  lua_replace(L, 2);
  return EXACT;
}

/* The mode of a LuaSocket pattern at index 2. */
static int pattern(lua_State *L) {
  if (lua_isnil(L, 2)) return LINE;
  const char *p = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (p[0] == '*' && p[1] == 'l') return LINE;
  if (lua_isnumber(L, 2)) return exact(L);
  luaL_checkstring(L, 2);
  luaL_argcheck(L, p[0] == '*' && p[1] == 'a', 2, "invalid receive pattern");
  return ALL;
}

/* receive([pattern [, prefix]]) -> data, nil, nil | nil, message, partial */
static int receive(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  size_t prefix = 0;
  lua_settop(L, 3);
  if (!lua_isnil(L, 3)) luaL_checklstring(L, 3, &prefix);
  int mode = pattern(L);
  if (mode == EXACT && prefix && !wanted(L)) {
    lua_settop(L, 3);
    lua_pushnil(L);
    lua_pushnil(L);
    return 3;
  }
  return start(L, s, mode);
}

/* receive_some([max]) -> data | nil, message, partial */
static int receive_some(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  lua_Integer max = luaL_optinteger(L, 2, LUA_MAXINTEGER);
  luaL_argcheck(L, max > 0, 2, "max: at least one byte");
  lua_settop(L, 1);
  lua_pushinteger(L, max);
  return start(L, s, SOME);
}

/* read_until(delimiter [, max]) -> data | nil, message, partial */
static int read_until(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  size_t size;
  luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, size, 2, "delimiter: at least one byte");
  luaL_argcheck(L, luaL_optinteger(L, 3, 0) >= 0, 3, "max: not negative");
  lua_settop(L, 3);
  return start(L, s, UNTIL);
}

/* The iterator of lines(): (socket) -> line | nil. */
static int next_line(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_CLIENT);
  lua_settop(L, 1);
  return start(L, s, NEXT);
}

/* lines() -> for line in … */
static int lines(lua_State *L) {
  grb_check(L, GRB_CLIENT);
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, next_line, 1);
  lua_pushvalue(L, 1);
  return 2;
}

static int dirty(lua_State *L) {
  lua_pushboolean(L, gr_stream_dirty(&grb_check(L, GRB_STREAM)->stream));
  return 1;
}

const luaL_Reg grb_receive_methods[] = {
    {"receive", receive},       {"receive_some", receive_some},
    {"read_until", read_until}, {"lines", lines},
    {"dirty", dirty},           {NULL, NULL}};
