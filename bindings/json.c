/* greenlua.core.json: Lua values as JSON (RFC 8259).
 *
 * No metamethods are run, so nothing can wait in the midst of it, and all share
 * one piece of memory to write to. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "greenlualib.h"

enum {
  DEPTH = 200,      /* of tables in tables */
  SPARE = 256 << 10 /* bytes that are kept for the next time */
};

typedef struct writer {
  char *data;
  size_t len, room;
} writer;

/* The metatable of tables that are arrays even if they are empty. */
static const char array_key;

/* --- memory ------------------------------------------------------------- */

static void grow(lua_State *L, writer *w, size_t more) {
  size_t room = 2 * (w->len + more) + 1024;
  char *data = gr_realloc(w->data, room);
  if (!data) luaL_error(L, "not enough memory");
  w->data = data;
  w->room = room;
}

static inline char *space(lua_State *L, writer *w, size_t more) {
  if (w->room - w->len < more) grow(L, w, more);
  return w->data + w->len;
}

static void put(lua_State *L, writer *w, const char *s, size_t n) {
  memcpy(space(L, w, n), s, n);
  w->len += n;
}

static inline void put_char(lua_State *L, writer *w, char ch) {
  *space(L, w, 1) = ch;
  w->len++;
}

/* --- strings ------------------------------------------------------------ */

/* What stands behind the backslash; 'u': six characters. */
static const char escapes[256] = {
    [0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n',
    [11] = 'u',      ['\f'] = 'f', ['\r'] = 'r', [14 ... 31] = 'u',
    ['"'] = '"',     ['\\'] = '\\'};

static char *put_escape(char *to, unsigned char ch) {
  *to++ = '\\';
  *to++ = escapes[ch];
  if (escapes[ch] == 'u') to += snprintf(to, 5, "%04x", ch);
  return to;
}

enum { WORD = sizeof(uint64_t) };

static const uint64_t ONES = UINT64_MAX / 255;

/* Is one of its bytes 0?  One that is told of may be another's carry. */
static inline uint64_t any_zero(uint64_t word) {
  return (word - ONES) & ~word & ONES * 0x80;
}

/* Is there nothing to escape in a word of a string? */
static inline bool is_plain(uint64_t word) {
  uint64_t controls = (word - ONES * ' ') & ~word & ONES * 0x80;
  return !(controls | any_zero(word ^ ONES * '"') |
           any_zero(word ^ ONES * '\\'));
}

/* Most of most strings needs no escape: that is copied by words. */
static char *put_text(char *to, const char *s, size_t n) {
  const char *end = s + n;
  while (s < end) {
    uint64_t word;
    if (end - s >= WORD && is_plain((memcpy(&word, s, WORD), word))) {
      memcpy(to, &word, WORD);
      to += WORD;
      s += WORD;
      continue;
    }
    unsigned char ch = (unsigned char)*s++;
    if (escapes[ch])
      to = put_escape(to, ch);
    else
      *to++ = (char)ch;
  }
  return to;
}

static void put_string(lua_State *L, writer *w, const char *s, size_t n) {
  char *start = space(L, w, 6 * n + 2), *to = start;
  *to++ = '"';
  to = put_text(to, s, n);
  *to++ = '"';
  w->len += (size_t)(to - start);
}

/* --- numbers ------------------------------------------------------------ */

enum { DIGITS = 40 };

static char *put_unsigned(char *to, lua_Unsigned n) {
  char digits[20];
  int i = 20;
  do digits[--i] = (char)('0' + n % 10);
  while (n /= 10);
  memcpy(to, digits + i, (size_t)(20 - i));
  return to + 20 - i;
}

static char *put_integer(char *to, lua_Integer n) {
  if (n < 0) *to++ = '-';
  return put_unsigned(to, n < 0 ? 0 - (lua_Unsigned)n : (lua_Unsigned)n);
}

/* Most numbers in programs have few decimals: those that three digits say
 * exactly. */
static char *put_decimal(char *to, double x) {
  double scaled = x * 1000;
  if (!(fabs(scaled) < 1e15) || scaled != floor(scaled) || scaled / 1000 != x)
    return NULL;
  lua_Unsigned n = (lua_Unsigned)fabs(scaled);
  unsigned rest = (unsigned)(n % 1000);
  if (signbit(x)) *to++ = '-';
  to = put_unsigned(to, n / 1000);
  if (!rest) return to;
  *to++ = '.';
  for (unsigned unit = 100; rest; rest %= unit, unit /= 10)
    *to++ = (char)('0' + rest / unit);
  return to;
}

/* The shortest of the usual forms that means the same number. */
static char *put_float(char *to, double x) {
  char *end = put_decimal(to, x);
  if (end) return end;
  for (int digits = 15; digits <= 17; digits++) {
    int n = snprintf(to, DIGITS, "%.*g", digits, x);
    if (digits == 17 || strtod(to, NULL) == x) return to + n;
  }
  return to;
}

static void put_number(lua_State *L, writer *w, int arg) {
  char *to = space(L, w, DIGITS), *end;
  if (lua_isinteger(L, arg)) {
    end = put_integer(to, lua_tointeger(L, arg));
  } else {
    double x = lua_tonumber(L, arg);
    if (!isfinite(x)) luaL_error(L, "no JSON: the number is %f", x);
    end = put_float(to, x);
    /* A locale may have a comma for the point. */
    for (char *at = to; at < end; at++)
      if (*at == ',') *at = '.';
  }
  w->len += (size_t)(end - to);
}

/* --- tables ------------------------------------------------------------- */

static void put_value(lua_State *L, writer *w, int depth);

/* Are its keys 1 … n, and no others? */
static bool is_array(lua_State *L, int table, lua_Unsigned *n) {
  *n = lua_rawlen(L, table);
  lua_Unsigned count = 0;
  for (lua_pushnil(L); lua_next(L, table);) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1) || ++count > *n) {
      lua_pop(L, 1);
      return false;
    }
  }
  return count == *n;
}

static bool is_marked(lua_State *L, int table) {
  if (!lua_getmetatable(L, table)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

static void put_array(lua_State *L, writer *w, int table, lua_Unsigned n,
                      int depth) {
  put_char(L, w, '[');
  for (lua_Unsigned i = 1; i <= n; i++) {
    if (i > 1) put_char(L, w, ',');
    lua_rawgeti(L, table, (lua_Integer)i);
    put_value(L, w, depth);
    lua_pop(L, 1);
  }
  put_char(L, w, ']');
}

static void put_key(lua_State *L, writer *w, int arg) {
  size_t n;
  if (lua_type(L, arg) == LUA_TSTRING) {
    const char *s = lua_tolstring(L, arg, &n);
    put_string(L, w, s, n);
  } else if (lua_type(L, arg) == LUA_TNUMBER) {
    put_char(L, w, '"');
    put_number(L, w, arg);
    put_char(L, w, '"');
  } else {
    luaL_error(L, "no JSON: a %s is a key", luaL_typename(L, arg));
  }
}

static void put_object(lua_State *L, writer *w, int table, int depth) {
  char next = '{';
  for (lua_pushnil(L); lua_next(L, table); next = ',') {
    put_char(L, w, next);
    put_key(L, w, lua_gettop(L) - 1);
    put_char(L, w, ':');
    put_value(L, w, depth);
    lua_pop(L, 1);
  }
  if (next == '{') put_char(L, w, '{');
  put_char(L, w, '}');
}

static void put_table(lua_State *L, writer *w, int depth) {
  lua_Unsigned n;
  int table = lua_gettop(L);
  if (depth > DEPTH)
    luaL_error(L, "no JSON: tables in tables, more than %d deep", DEPTH);
  luaL_checkstack(L, 8, NULL);
  bool array = is_array(L, table, &n);
  if (array && (n || is_marked(L, table)))
    put_array(L, w, table, n, depth + 1);
  else
    put_object(L, w, table, depth + 1);
}

/* The value on top of the stack. */
static void put_value(lua_State *L, writer *w, int depth) {
  size_t n;
  const char *s;
  switch (lua_type(L, -1)) {
  case LUA_TSTRING:
    s = lua_tolstring(L, -1, &n);
    put_string(L, w, s, n);
    return;
  case LUA_TNUMBER:
    put_number(L, w, -1);
    return;
  case LUA_TTABLE:
    put_table(L, w, depth);
    return;
  case LUA_TBOOLEAN:
    s = lua_toboolean(L, -1) ? "true" : "false";
    put(L, w, s, strlen(s));
    return;
  case LUA_TNIL:
    put(L, w, "null", 4);
    return;
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(L, -1)) {
      put(L, w, "null", 4);
      return;
    }
    /* fall through */
  default:
    luaL_error(L, "no JSON: a value is a %s", luaL_typename(L, -1));
  }
}

/* --- the module --------------------------------------------------------- */

static void shed(writer *w) {
  gr_free(w->data);
  *w = (writer){NULL, 0, 0};
}

/* encode(value) -> text */
static int encode(lua_State *L) {
  writer *w = lua_touserdata(L, lua_upvalueindex(1));
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  w->len = 0;
  put_value(L, w, 1);
  lua_pushlstring(L, w->data, w->len);
  if (w->room > SPARE) shed(w);
  return 1;
}

static int collect(lua_State *L) {
  shed(lua_touserdata(L, 1));
  return 0;
}

static void push_writer(lua_State *L) {
  writer *w = lua_newuserdatauv(L, sizeof *w, 0);
  *w = (writer){NULL, 0, 0};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
}

int luaopen_greenlua_core_json(lua_State *L) {
  lua_createtable(L, 0, 3);
  push_writer(L);
  lua_pushcclosure(L, encode, 1);
  lua_setfield(L, -2, "encode");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "JSON array");
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_setfield(L, -2, "array");
  return 1;
}
