/* The fields of a response: checked lines in one piece of memory. */
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "http.h"

/* --- lines -------------------------------------------------------------- */

static bool make_room(grh_response *r, size_t more) {
  size_t need = r->used + more;
  if (need <= r->room) return true;
  size_t room = need < 1024 ? 1024 : 2 * need;
  char *own = r->c->spill, *to = gr_realloc(own, room);
  if (!to) return false;
  if (!own) memcpy(to, r->lines, r->used);
  r->c->spill = r->lines = to;
  r->room = (uint32_t)room;
  return true;
}

bool grh_add_line(grh_response *r, const char *name, size_t nn,
                  const char *value, size_t nv) {
  if (!make_room(r, nn + nv + 4)) return false;
  char *to = r->lines + r->used;
  memcpy(to, name, nn);
  memcpy(to + nn, ": ", 2);
  memcpy(to + nn + 2, value, nv);
  memcpy(to + nn + 2 + nv, "\r\n", 2);
  r->used += (uint32_t)(nn + nv + 4);
  return true;
}

/* The line of the first such field at or after `from`, and its size. */
static char *find(const grh_response *r, char *from, const char *name,
                  size_t nn, size_t *size) {
  char *end = r->lines + r->used;
  while (from < end) {
    char *stop = (char *)memchr(from, '\n', (size_t)(end - from)) + 1;
    *size = (size_t)(stop - from);
    if (*size > nn && from[nn] == ':' && !strncasecmp(from, name, nn))
      return from;
    from = stop;
  }
  return NULL;
}

bool grh_remove_line(grh_response *r, const char *name, size_t nn) {
  size_t size;
  bool any = false;
  for (char *at = r->lines; (at = find(r, at, name, nn, &size)); any = true) {
    memmove(at, at + size, (size_t)(r->lines + r->used - (at + size)));
    r->used -= (uint32_t)size;
  }
  return any;
}

const char *grh_find_line(const grh_response *r, const char *name, size_t nn,
                          size_t *nv) {
  size_t size;
  const char *at = find(r, r->lines, name, nn, &size);
  if (!at) return NULL;
  *nv = size - nn - 4;
  return at + nn + 2;
}

/* --- checks ------------------------------------------------------------- */

/* CR, LF and NUL would let a value end the field, or the head. */
bool grh_is_value(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char ch = (unsigned char)s[i];
    if ((ch < ' ' && ch != '\t') || ch == 127) return false;
  }
  return true;
}

static const char *check_name(lua_State *L, int arg, size_t *n) {
  const char *name = luaL_checklstring(L, arg, n);
  if (!grh_is_token(name, *n))
    luaL_argerror(L, arg, lua_pushfstring(L, "'%s' is no field name", name));
  return name;
}

static const char *check_value(lua_State *L, int arg, const char *name,
                               size_t *n) {
  const char *value = lua_tolstring(L, arg, n);
  if (!value)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%s: string or number expected, got %s",
                                  name, luaL_typename(L, arg)));
  if (!grh_is_value(value, *n))
    luaL_argerror(
        L, arg, lua_pushfstring(L, "%s: a control character in a value", name));
  return value;
}

/* --- fields that mean something to us ------------------------------------ */

enum {
  PLAIN,
  CONTENT_LENGTH,
  TRANSFER_ENCODING,
  CONNECTION,
  CONTENT_TYPE,
  DATE,
  CONTENT_ENCODING,
  ETAG,
  VARY
};

static int meaning(const char *name, size_t n) {
  static const struct {
    const char *name;
    size_t n;
    int meaning;
  } known[] = {{"content-type", 12, CONTENT_TYPE},
               {"content-length", 14, CONTENT_LENGTH},
               {"connection", 10, CONNECTION},
               {"date", 4, DATE},
               {"etag", 4, ETAG},
               {"vary", 4, VARY},
               {"content-encoding", 16, CONTENT_ENCODING},
               {"transfer-encoding", 17, TRANSFER_ENCODING}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (grh_same(name, n, known[i].name, known[i].n)) return known[i].meaning;
  return PLAIN;
}

static void set_length(lua_State *L, grh_response *r, int arg) {
  int is_number;
  lua_Integer n = lua_tointegerx(L, arg, &is_number);
  if (!is_number || n < 0) luaL_argerror(L, arg, "a length expected");
  r->length = (uint64_t)n;
  r->sized = true;
}

/* "close" is heeded; "Upgrade" goes out as it is. */
static bool set_connection(grh_response *r, const char *value, size_t n) {
  if (grh_same(value, n, "close", 5)) {
    r->c->ends = true;
    return true;
  }
  return grh_same(value, n, "keep-alive", 10);
}

static void mark(grh_response *r, int what, bool set) {
  if (what == CONTENT_TYPE) r->typed = set;
  if (what == DATE) r->dated = set;
  if (what == CONTENT_ENCODING) r->encoded = set;
  if (what == ETAG) r->tagged = set;
  if (what == VARY) r->varies = set, r->vary_told = false;
}

static void add(lua_State *L, grh_response *r, int arg) {
  size_t nn, nv;
  const char *name = check_name(L, arg, &nn);
  const char *value = check_value(L, arg + 1, name, &nv);
  int what = meaning(name, nn);
  if (what == TRANSFER_ENCODING)
    luaL_argerror(L, arg, "the server chooses the Transfer-Encoding");
  if (what == CONTENT_LENGTH)
    set_length(L, r, arg + 1);
  else if (what == CONNECTION && set_connection(r, value, nv))
    return;
  else if (!grh_add_line(r, name, nn, value, nv))
    luaL_error(L, "not enough memory");
  mark(r, what, true);
}

static void take_out(lua_State *L, grh_response *r, int arg) {
  size_t nn;
  const char *name = check_name(L, arg, &nn);
  int what = meaning(name, nn);
  grh_remove_line(r, name, nn);
  if (what == CONTENT_LENGTH) r->sized = false;
  mark(r, what, false);
}

static grh_response *check_fresh(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  if (r->state != GRH_FRESH) luaL_error(L, "the head has been sent");
  return r;
}

/* --- methods ------------------------------------------------------------ */

static void add_list(lua_State *L, grh_response *r) {
  for (lua_Integer i = 1; lua_rawgeti(L, 3, i) != LUA_TNIL; i++) {
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    add(L, r, lua_gettop(L) - 1);
    lua_settop(L, 3);
  }
  lua_settop(L, 3);
}

/* set_header(res, name, value or list or nil) -> res: in place of what there
 * was */
static int set_header(lua_State *L) {
  grh_response *r = check_fresh(L);
  lua_settop(L, 3);
  if (r->used || r->sized || lua_isnil(L, 3)) take_out(L, r, 2);
  if (lua_istable(L, 3))
    add_list(L, r);
  else if (!lua_isnil(L, 3))
    add(L, r, 2);
  lua_settop(L, 1);
  return 1;
}

/* add_header(res, name, value) -> res: beside what there is */
static int add_header(lua_State *L) {
  grh_response *r = check_fresh(L);
  lua_settop(L, 3);
  add(L, r, 2);
  lua_settop(L, 1);
  return 1;
}

/* get_header(res, name) -> value | nil */
static int get_header(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  size_t nn, nv;
  const char *name = luaL_checklstring(L, 2, &nn);
  if (meaning(name, nn) == CONTENT_LENGTH) {
    if (!r->sized) return 0;
    lua_pushfstring(L, "%I", (lua_Integer)r->length);
    return 1;
  }
  const char *value = grh_find_line(r, name, nn, &nv);
  if (!value) return 0;
  lua_pushlstring(L, value, nv);
  return 1;
}

/* header_at(res, place) -> place of the next, name, value | nothing */
static int header_at(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  lua_Integer at = luaL_checkinteger(L, 2);
  if (at < 0 || at >= r->used) return 0;
  /* Somebody has set fields meanwhile. */
  if (at && r->lines[at - 1] != '\n') return 0;
  const char *line = r->lines + at;
  const char *end = memchr(line, '\n', r->used - (size_t)at);
  const char *colon = memchr(line, ':', (size_t)(end - line));
  lua_pushinteger(L, (lua_Integer)(end + 1 - r->lines));
  lua_pushlstring(L, line, (size_t)(colon - line));
  lua_pushlstring(L, colon + 2, (size_t)(end - 1 - (colon + 2)));
  return 3;
}

/* clear_headers(res) -> res */
static int clear_headers(lua_State *L) {
  grh_response *r = check_fresh(L);
  r->used = 0;
  r->typed = r->dated = r->encoded = r->tagged = r->varies = r->sized = false;
  r->vary_told = false;
  lua_settop(L, 1);
  return 1;
}

const luaL_Reg grh_field_methods[] = {
    {"set_header", set_header},       {"add_header", add_header},
    {"get_header", get_header},       {"header_at", header_at},
    {"clear_headers", clear_headers}, {NULL, NULL}};
