/* Reading: the original is called, and called once more when there is more. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "luaio.h"

enum { ROUNDS = 16 }; /* of reading for one greenlet before others come */

static const gr_wait read_wait = {.name = "read"};

/* Upvalues of the iterator, besides LUAIO_ORIGINAL, which is file:read. */
enum { LINES_FILE = LUAIO_DEFAULT + 1, LINES_N, LINES_TOCLOSE, LINES_FORMAT };

/* --- how much is enough ------------------------------------------------- */

/* Calling the original for each few bytes of a large whole would take time that
 * grows with its square.  For the usual patterns it is plain what is missing;
 * new bytes are those from `from` on. */
static bool worth_trying(lua_State *L, gr_file *file, int first, int nargs,
                         size_t from) {
  size_t n;
  const char *bytes = gr_file_bytes(file, &n);
  if (file->eof || file->error || nargs > first) return true;
  if (nargs == first && lua_type(L, first) == LUA_TNUMBER)
    return (lua_Number)n >= lua_tonumber(L, first);
  const char *format = nargs < first ? "l" : lua_tostring(L, first);
  if (*format == '*') format++;
  if (*format == 'a') return false;
  return *format == 'n' || memchr(bytes + from, '\n', n - from);
}

/* --- one call ----------------------------------------------------------- */

static void check_free(lua_State *L, gr_state *S, const gr_file *file) {
  gr_waiter *other = gr_io_waiter(&file->reads);
  if (!other || !S->hub.current) return;
  gr_push_greenlet(L, S, (gr_greenlet *)(void *)S->hub.current);
  gr_push_name(L, S, -1);
  gr_push_greenlet(L, S, (gr_greenlet *)(void *)other);
  gr_push_name(L, S, -1);
  luaL_error(L,
             "%s cannot read from file (descriptor %d): %s waits in read there",
             lua_tostring(L, -3), file->fd, lua_tostring(L, -1));
}

/* What an iteration is: the index of the first pattern, how many arguments
 * there are with those, and whether this is the call of an iterator. */
typedef union call {
  struct {
    uint16_t first, nargs;
    bool lines;
  } is;
  lua_KContext ctx;
} call;

/* Read what is there, and no more than is fair.  Is it worth another call? */
static bool fetch(lua_State *L, gr_file *file, call c) {
  size_t from;
  for (int i = 0; i < ROUNDS && gr_file_fill(file, &from); i++)
    if (worth_trying(L, file, c.is.first, c.is.nargs, from)) return true;
  return false;
}

static int finish_line(lua_State *L, int n);
static int more_k(lua_State *L, int status, lua_KContext ctx);

static int await_more(lua_State *L, gr_state *S, gr_file *file, call c) {
  gr_can_block(L, S, INFINITY);
  gr_io_await(&file->reads);
  return gr_park(L, S, &read_wait, true, c.ctx, more_k);
}

/* The original raises an error of others, which must not be in the midst of an
 * operation. */
static bool are_patterns(lua_State *L, call c) {
  for (int i = c.is.first; i <= c.is.nargs; i++) {
    if (lua_type(L, i) == LUA_TNUMBER) continue;
    const char *format = lua_tostring(L, i);
    if (!format) return false;
    if (*format == '*') format++;
    if (!*format || !strchr("nlLa", *format)) return false;
  }
  return true;
}

static int read_once(lua_State *L, call c) {
  gr_state *S = gr_state_of(L);
  gr_file *file = luaio_file(L, 1);
  int n;
  if (file) check_free(L, S, file);
  if (file && are_patterns(L, c) && luaio_can_wait(L, S)) {
    gr_file_begin(file);
    n = luaio_call(L);
    if (gr_file_starved(file)) {
      lua_settop(L, c.is.nargs);
      return await_more(L, S, file, c);
    }
  } else {
    n = luaio_call(L);
  }
  return c.is.lines ? finish_line(L, n) : n;
}

/* The file may have been closed meanwhile, and the default one another. */
static int more_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  call c = {.ctx = ctx};
  (void)status;
  int how = gr_woken(L, S, ctx, more_k);
  gr_file *file = luaio_file(L, 1);
  if (file && how == GR_WOKEN) {
    check_free(L, S, file);
    if (!fetch(L, file, c)) return await_more(L, S, file, c);
  }
  return read_once(L, c);
}

static int read_from(lua_State *L, int first, bool lines) {
  call c = {.ctx = 0};
  c.is.first = (uint16_t)first;
  c.is.nargs = (uint16_t)lua_gettop(L);
  c.is.lines = lines;
  return read_once(L, c);
}

/* file:read(...), io.read(...) */
int luaio_read(lua_State *L) {
  return read_from(L, lua_isnil(L, lua_upvalueindex(LUAIO_DEFAULT)) ? 2 : 1,
                   false);
}

/* --- lines -------------------------------------------------------------- */

/* As Lua's own iterator ends. */
static int finish_line(lua_State *L, int n) {
  if (lua_toboolean(L, -n)) return n;
  if (n > 1) return luaL_error(L, "%s", lua_tostring(L, -n + 1));
  if (lua_toboolean(L, lua_upvalueindex(LINES_TOCLOSE))) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(LINES_FILE));
    luaio_stream *s = luaio_to_stream(L, 1);
    if (s) {
      s->lua.closef = NULL;
      fclose(s->lua.f);
    }
  }
  return 0;
}

static int next_line(lua_State *L) {
  luaL_Stream *s = lua_touserdata(L, lua_upvalueindex(LINES_FILE));
  int n = (int)lua_tointeger(L, lua_upvalueindex(LINES_N));
  if (!s->closef) return luaL_error(L, "file is already closed");
  lua_settop(L, 0);
  luaL_checkstack(L, n + 1, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(LINES_FILE));
  for (int i = 0; i < n; i++)
    lua_pushvalue(L, lua_upvalueindex(LINES_FORMAT + i));
  return read_from(L, 2, true);
}

/* What Lua allows, less what we need. */
enum { MAX_FORMATS = 250 - LINES_FORMAT };

void luaio_push_lines(lua_State *L, int first, bool toclose) {
  int file = lua_gettop(L), n = file - first;
  luaL_argcheck(L, n <= MAX_FORMATS, MAX_FORMATS + 2, "too many arguments");
  luaL_checkstack(L, n + LINES_FORMAT, "too many arguments");
  lua_pushvalue(L, lua_upvalueindex(LUAIO_STATE));
  lua_pushvalue(L, lua_upvalueindex(LUAIO_IO));
  lua_pushcfunction(L, luaio_of(L)->read);
  lua_pushnil(L); /* no default file */
  lua_pushvalue(L, file);
  lua_pushinteger(L, n);
  lua_pushboolean(L, toclose);
  for (int i = 0; i < n; i++) lua_pushvalue(L, first + i);
  lua_pushcclosure(L, next_line, LINES_FORMAT - 1 + n);
}

/* file:lines(...) */
int luaio_lines(lua_State *L) {
  if (!luaio_of(L)->read || !luaio_file(L, 1)) return luaio_call(L);
  lua_pushvalue(L, 1);
  luaio_push_lines(L, 2, false);
  return 1;
}

/* io.lines([path, ...]) */
int luaio_io_lines(lua_State *L) {
  if (!luaio_of(L)->read) return luaio_call(L);
  if (lua_isnoneornil(L, 1)) {
    if (!luaio_file(L, 1)) return luaio_call(L);
    if (lua_isnone(L, 1)) lua_pushnil(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "_IO_input");
    luaio_push_lines(L, 2, false);
    return 1;
  }
  if (lua_type(L, 1) != LUA_TSTRING ||
      luaio_try_open(L, lua_tostring(L, 1), "r") <= 0)
    return luaio_call(L);
  int file = lua_gettop(L);
  luaio_push_lines(L, 2, true);
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, file);
  return 4;
}
