/* string.find, match, gmatch, gsub and rep. */
#include <limits.h>
#include <lualib.h>
#include <string.h>

#include "greenlualib.h"
#include "preempt.h"

enum { DEPTH = 200 }; /* of a pattern's calls, as in Lua */

static void restart(grb_pattern *m) {
  m->level = 0;
  m->depth = DEPTH;
}

/* Arguments 1 and 2; the pattern's begin. */
static const char *begin(lua_State *L, gr_state *S, grb_pattern *m) {
  size_t length, size;
  m->start = luaL_checklstring(L, 1, &length);
  m->end = m->start + length;
  const char *p = luaL_checklstring(L, 2, &size);
  m->last = p + size;
  m->work = (grb_work){L, S, 0};
  return p;
}

/* Where argument `arg` says to begin, from 0. */
static size_t from(lua_State *L, int arg, size_t length) {
  lua_Integer at = luaL_optinteger(L, arg, 1);
  if (at > 0) return (size_t)at - 1;
  if (at == 0 || at < -(lua_Integer)length) return 0;
  return length - (size_t)-at;
}

static int found(lua_State *L, const grb_pattern *m, const char *s,
                 const char *e) {
  lua_pushinteger(L, s - m->start + 1);
  lua_pushinteger(L, e - m->start);
  return 2;
}

static int nothing(lua_State *L) {
  luaL_pushfail(L);
  return 1;
}

static int find_plain(lua_State *L, const grb_pattern *m, const char *s,
                      const char *p) {
  size_t size = (size_t)(m->last - p);
  const char *at = memmem(s, (size_t)(m->end - s), p, size);
  return at ? found(L, m, at, at + size) : nothing(L);
}

static bool has_specials(const grb_pattern *m, const char *p) {
  for (; p < m->last; p++)
    if (*p && strchr("^$*+?.([%-", *p)) return true;
  return false;
}

static int look_for(lua_State *L, bool find) {
  grb_pattern m;
  const char *p = begin(L, gr_state_of(L), &m), *e;
  size_t at = from(L, 3, (size_t)(m.end - m.start));
  if (at > (size_t)(m.end - m.start)) return nothing(L);
  const char *s = m.start + at;
  if (find && (lua_toboolean(L, 4) || !has_specials(&m, p)))
    return find_plain(L, &m, s, p);
  bool anchored = *p == '^';
  p += anchored;
  do {
    restart(&m);
    if (!(e = grb_match(&m, s, p))) continue;
    if (!find) return grb_push_captures(&m, s, e);
    found(L, &m, s, e);
    return grb_push_captures(&m, NULL, NULL) + 2;
  } while (s++ < m.end && !anchored);
  return nothing(L);
}

static int str_find(lua_State *L) {
  return look_for(L, true);
}

static int str_match(lua_State *L) {
  return look_for(L, false);
}

/* --- gmatch --------------------------------------------------------------- */

enum { AT = 4, LAST }; /* upvalues, after the state, subject and pattern */

static int next_match(lua_State *L) {
  grb_pattern m;
  gr_state *S = gr_state_of(L);
  size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(AT));
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(LAST));
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, lua_upvalueindex(3));
  const char *p = begin(L, S, &m);
  for (; at <= (size_t)(m.end - m.start); at++) {
    const char *s = m.start + at, *e;
    restart(&m);
    if (!(e = grb_match(&m, s, p)) || e - m.start == last) continue;
    lua_pushinteger(L, e - m.start);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(AT));
    lua_replace(L, lua_upvalueindex(LAST));
    return grb_push_captures(&m, s, e);
  }
  return 0;
}

static int str_gmatch(lua_State *L) {
  size_t length;
  luaL_checklstring(L, 1, &length);
  luaL_checkstring(L, 2);
  size_t at = from(L, 3, length);
  lua_settop(L, 2);
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_insert(L, 1);
  lua_pushinteger(L, (lua_Integer)(at > length ? length + 1 : at));
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, LAST);
  return 1;
}

/* --- gsub ----------------------------------------------------------------- */

static void add_text(grb_pattern *m, luaL_Buffer *b, const char *s,
                     const char *e) {
  lua_State *L = m->work.L;
  size_t size;
  const char *text = lua_tolstring(L, 3, &size), *end = text + size, *at;
  for (; (at = memchr(text, '%', (size_t)(end - text))); text = at + 2) {
    luaL_addlstring(b, text, (size_t)(at - text));
    if (at[1] == '%') {
      luaL_addchar(b, '%');
    } else if (at[1] == '0') {
      luaL_addlstring(b, s, (size_t)(e - s));
    } else if (at[1] >= '1' && at[1] <= '9') {
      grb_push_capture(m, at[1] - '1', s, e);
      luaL_addvalue(b);
    } else {
      luaL_error(L, "invalid use of '%c' in replacement string", '%');
    }
  }
  luaL_addlstring(b, text, (size_t)(end - text));
}

/* Has it changed? */
static bool add_replacement(grb_pattern *m, luaL_Buffer *b, const char *s,
                            const char *e) {
  lua_State *L = m->work.L;
  int type = lua_type(L, 3);
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, grb_push_captures(m, s, e), 1);
  } else if (type == LUA_TTABLE) {
    grb_push_capture(m, 0, s, e);
    lua_gettable(L, 3);
  } else {
    add_text(m, b, s, e);
    return true;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(b, s, (size_t)(e - s));
    return false;
  }
  if (!lua_isstring(L, -1))
    luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(b);
  return true;
}

static int str_gsub(lua_State *L) {
  grb_pattern m;
  luaL_Buffer b;
  const char *p = begin(L, gr_state_of(L), &m), *s = m.start, *last = NULL;
  int type = lua_type(L, 3);
  luaL_argexpected(L,
                   type == LUA_TNUMBER || type == LUA_TSTRING ||
                       type == LUA_TFUNCTION || type == LUA_TTABLE,
                   3, "string/function/table");
  lua_Integer max = luaL_optinteger(L, 4, m.end - m.start + 1), n = 0;
  bool anchored = *p == '^', changed = false;
  p += anchored;
  luaL_buffinit(L, &b);
  while (n < max) {
    restart(&m);
    const char *e = grb_match(&m, s, p);
    if (e && e != last) {
      n++;
      changed |= add_replacement(&m, &b, s, e);
      s = last = e;
    } else if (s < m.end) {
      luaL_addchar(&b, *s++);
    } else {
      break;
    }
    if (anchored) break;
  }
  luaL_addlstring(&b, s, (size_t)(m.end - s));
  luaL_pushresult(&b);
  if (!changed) lua_pushvalue(L, 1);
  lua_pushinteger(L, n);
  return 2;
}

/* --- rep ------------------------------------------------------------------ */

static char *put(char *to, const char *s, size_t length) {
  memcpy(to, s, length);
  return to + length;
}

/* Nothing many times is nothing. */
static int str_rep(lua_State *L) {
  size_t length, between;
  luaL_Buffer b;
  const char *s = luaL_checklstring(L, 1, &length);
  lua_Integer n = luaL_checkinteger(L, 2);
  const char *sep = luaL_optlstring(L, 3, "", &between);
  if (n <= 0 || !(length || between)) {
    lua_pushliteral(L, "");
    return 1;
  }
  if (length + between < length || length + between > (size_t)(INT_MAX / n))
    return luaL_error(L, "resulting string too large");
  size_t all = (size_t)n * length + (size_t)(n - 1) * between;
  char *to = luaL_buffinitsize(L, &b, all);
  while (n--) {
    to = put(to, s, length);
    if (n) to = put(to, sep, between);
  }
  luaL_pushresultsize(&b, all);
  return 1;
}

/* --- the module ----------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"find", str_find}, {"match", str_match}, {"gmatch", str_gmatch},
    {"gsub", str_gsub}, {"rep", str_rep},     {NULL, NULL}};

int luaopen_greenlua_core_preempt(lua_State *L) {
  gr_state *S = gr_state_open(L);
  lua_newtable(L);
  lua_newtable(L);
  gr_setfuncs(L, S, functions);
  lua_setfield(L, -2, LUA_STRLIBNAME);
  grb_push_table_functions(L, S);
  lua_setfield(L, -2, LUA_TABLIBNAME);
  return 1;
}
