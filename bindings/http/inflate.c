/* Undoing the content codings "gzip" and "deflate", a piece at a time: what
 * comes out of one call is bounded, however little went in. */
#include <string.h>
#include <zlib.h>

#include "alloc.h"
#include "http.h"

enum { PIECE = 32 << 10 };

static const char inflater_key;

typedef struct inflater {
  const void *magic;
  z_stream z;
  bool gzip;    /* or "deflate": zlib's format, or none at all */
  bool open;    /* z is to be freed */
  bool started; /* something has come */
  bool ended;   /* the data say that they are complete */
} inflater;

static inflater *check(lua_State *L) {
  inflater *f = lua_touserdata(L, 1);
  if (!f || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) != sizeof *f ||
      f->magic != &inflater_key)
    luaL_typeerror(L, 1, "inflater");
  return f;
}

/* Some servers send "deflate" without zlib's header (RFC 9110, 8.4.1.2). */
static int window(const inflater *f, const unsigned char *s, size_t n) {
  if (f->gzip) return 15 + 16;
  bool headed =
      n < 2 || ((s[0] & 15) == Z_DEFLATED && (s[0] << 8 | s[1]) % 31 == 0);
  return headed ? 15 : -15;
}

static bool start(inflater *f, const char *s, size_t n) {
  f->z.zalloc = gr_zalloc;
  f->z.zfree = gr_zfree;
  if (inflateInit2(&f->z, window(f, (const unsigned char *)s, n)) != Z_OK)
    return false;
  f->open = f->started = true;
  return true;
}

/* push(inflater, bytes) -> true | nil, message: to be taken out by `pull`, all
 * of it, before the next ones */
static int push(lua_State *L) {
  inflater *f = check(L);
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  if (n && !f->started && !start(f, s, n)) {
    lua_pushnil(L);
    lua_pushliteral(L, "not enough memory");
    return 2;
  }
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, 1);
  f->z.next_in = (Bytef *)s;
  f->z.avail_in = n > UINT32_MAX ? UINT32_MAX : (uInt)n;
  return lua_pushboolean(L, true), 1;
}

/* What follows the end: another member of a gzip file, or nothing of ours. */
static bool goes_on(inflater *f) {
  if (!f->gzip || !f->z.avail_in || *f->z.next_in != 0x1f) return false;
  f->ended = false;
  return inflateReset(&f->z) == Z_OK;
}

/* pull(inflater) -> bytes | nil: more must be pushed | nil, message */
static int pull(lua_State *L) {
  inflater *f = check(L);
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, PIECE);
  size_t made = 0;
  while (f->started && !made && (!f->ended || goes_on(f))) {
    f->z.next_out = (Bytef *)to;
    f->z.avail_out = PIECE;
    int got = inflate(&f->z, Z_NO_FLUSH);
    made = PIECE - f->z.avail_out;
    if (got == Z_STREAM_END) {
      f->ended = true;
      continue;
    }
    if (got == Z_BUF_ERROR) break;
    if (got != Z_OK) {
      lua_pushnil(L);
      lua_pushstring(L, got == Z_MEM_ERROR ? "not enough memory"
                                           : "bad response: bad compression");
      return 2;
    }
  }
  if (!made) return lua_pushnil(L), 1;
  luaL_pushresultsize(&b, made);
  return 1;
}

/* complete(inflater) -> was that all, or nothing? */
static int complete(lua_State *L) {
  inflater *f = check(L);
  lua_pushboolean(L, f->ended || !f->started);
  return 1;
}

static int finalize(lua_State *L) {
  inflater *f = check(L);
  if (f->open) inflateEnd(&f->z);
  f->open = f->started = false;
  return 0;
}

/* inflater(coding): "gzip" or "deflate" */
static int new_inflater(lua_State *L) {
  static const char *const codings[] = {"gzip", "deflate", NULL};
  bool gzip = luaL_checkoption(L, 1, NULL, codings) == 0;
  inflater *f = lua_newuserdatauv(L, sizeof *f, 1);
  memset(f, 0, sizeof *f);
  f->magic = &inflater_key;
  f->gzip = gzip;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &inflater_key);
  lua_setmetatable(L, -2);
  return 1;
}

void grh_open_inflate(lua_State *L, grh_http *h) {
  static const luaL_Reg methods[] = {
      {"push", push}, {"pull", pull}, {"complete", complete}, {NULL, NULL}};
  static const luaL_Reg funcs[] = {{"inflater", new_inflater}, {NULL, NULL}};
  lua_createtable(L, 0, 3);
  lua_newtable(L);
  gr_setfuncs(L, h->S, methods);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "inflater");
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, finalize);
  lua_setfield(L, -2, "__gc");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &inflater_key);
  gr_setfuncs(L, h->S, funcs);
}
