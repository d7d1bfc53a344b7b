/* The request object: its head, and what can be asked of it. */
#include <string.h>
#include <strings.h>

#include "http.h"

const char grh_request_key;

/* --- the target --------------------------------------------------------- */

/* "http://host/path": where the path begins; an empty one is "". */
static grh_span skip_origin(const char *base, grh_span t) {
  const char *s = base + t.at, *end = s + t.len;
  const char *at = memmem(s, t.len, "://", 3);
  if (!at) return t;
  at += 3;
  while (at < end && *at != '/' && *at != '?') at++;
  return (grh_span){(uint32_t)(at - base), (uint32_t)(end - at)};
}

static void split_target(grh_request *r, const char *base) {
  grh_span t = r->head.target;
  r->path = r->query = (grh_span){t.at, 0};
  if (!t.len || r->head.method == HTTP_CONNECT) return;
  if (base[t.at] != '/' && base[t.at] != '*') t = skip_origin(base, t);
  const char *s = base + t.at;
  const char *hash = memchr(s, '#', t.len);
  if (hash) t.len = (uint32_t)(hash - s);
  const char *mark = memchr(s, '?', t.len);
  r->path = mark ? (grh_span){t.at, (uint32_t)(mark - s)} : t;
  if (mark) {
    uint32_t skip = (uint32_t)(mark - s) + 1;
    r->query = (grh_span){t.at + skip, t.len - skip};
  }
}

/* --- the object --------------------------------------------------------- */

grh_request *grh_new_message(lua_State *L, const grh_parser *p,
                             const char *data, size_t len, const void *key) {
  size_t fields = p->head.count * sizeof(grh_field);
  grh_request *r = lua_newuserdatauv(L, sizeof *r + fields + len, 2);
  r->magic = key;
  r->c = NULL;
  r->head = p->head;
  r->size = (uint32_t)len;
  memcpy(r->fields, p->fields, fields);
  memcpy((char *)r->fields + fields, data, len);
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  lua_setmetatable(L, -2);
  return r;
}

grh_request *grh_new_request(lua_State *L, grh_conn *c, const char *data,
                             size_t len) {
  grh_request *r =
      grh_new_message(L, &c->http->parser, data, len, &grh_request_key);
  r->c = c;
  split_target(r, grh_bytes(r));
  return r;
}

grh_request *grh_check_request(lua_State *L, int arg) {
  grh_request *r = lua_touserdata(L, arg);
  if (!r || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) < sizeof *r || r->magic != &grh_request_key)
    luaL_typeerror(L, arg, "request");
  return r;
}

/* A request, or the head of a response. */
static grh_request *check_message(lua_State *L) {
  grh_request *r = lua_touserdata(L, 1);
  if (r && lua_type(L, 1) == LUA_TUSERDATA && lua_rawlen(L, 1) >= sizeof *r &&
      r->magic == &grh_answer_key)
    return r;
  return grh_check_request(L, 1);
}

static bool has_name(const grh_request *r, const grh_field *f, const char *name,
                     size_t len) {
  return f->name_len == len && !strncasecmp(grh_bytes(r) + f->name, name, len);
}

const grh_field *grh_find_field(const grh_request *r, const char *name,
                                size_t len) {
  for (unsigned i = 0; i < r->head.count; i++)
    if (has_name(r, &r->fields[i], name, len)) return &r->fields[i];
  return NULL;
}

/* --- properties --------------------------------------------------------- */

static void push_span(lua_State *L, const grh_request *r, grh_span s) {
  lua_pushlstring(L, grh_bytes(r) + s.at, s.len);
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is no escape stays as it is. */
static void push_decoded(lua_State *L, const char *s, size_t n, bool plus) {
  luaL_Buffer b;
  char *to = luaL_buffinitsize(L, &b, n);
  size_t out = 0;
  for (size_t i = 0; i < n; i++) {
    int high = s[i] == '%' && i + 2 < n ? hex(s[i + 1]) : -1;
    int low = high >= 0 ? hex(s[i + 2]) : -1;
    if (low >= 0) {
      to[out++] = (char)(high << 4 | low);
      i += 2;
    } else {
      to[out++] = plus && s[i] == '+' ? ' ' : s[i];
    }
  }
  luaL_pushresultsize(&b, out);
}

static void push_path(lua_State *L, const grh_request *r) {
  const char *s = grh_bytes(r) + r->path.at;
  if (!r->path.len && r->head.method != HTTP_CONNECT)
    lua_pushliteral(L, "/");
  else if (memchr(s, '%', r->path.len))
    push_decoded(L, s, r->path.len, false);
  else
    lua_pushlstring(L, s, r->path.len);
}

static void push_length(lua_State *L, const grh_request *r) {
  if (r->head.framing == GRH_LENGTH)
    lua_pushinteger(L, (lua_Integer)r->head.length);
  else if (r->head.framing == GRH_NO_BODY)
    lua_pushinteger(L, 0);
  else
    lua_pushnil(L);
}

enum {
  METHOD = 1,
  PATH,
  RAW_PATH,
  QUERY_STRING,
  TARGET,
  VERSION,
  KEEP_ALIVE,
  CONTENT_LENGTH,
  SOCKET,
  SERVER,
  ADDRESS,
  BODY_STATUS,
  OVER
};

static const char *const properties[] = {
    "method", "path",    "raw_path",   "query_string",
    "target", "version", "keep_alive", "content_length",
    "socket", "server",  "_address",   "_body_status",
    "over",   NULL};

/* A value of the connection, or nil after its turn. */
static void push_of_connection(lua_State *L, grh_request *r, int value) {
  lua_pushnil(L);
  if (!r->c) return;
  lua_getiuservalue(L, 1, 2);
  lua_getiuservalue(L, -1,
                    value == SOCKET    ? GRH_V_SOCKET
                    : value == ADDRESS ? GRH_V_ADDRESS
                                       : GRH_V_CONFIG);
  if (value == SERVER) lua_getiuservalue(L, -1, GRH_V_SERVER);
}

static int push_property(lua_State *L, grh_request *r, int property) {
  switch (property) {
  case METHOD:
    lua_pushstring(L, llhttp_method_name((llhttp_method_t)r->head.method));
    break;
  case PATH:
    push_path(L, r);
    break;
  case RAW_PATH:
    push_span(L, r, r->path);
    break;
  case QUERY_STRING:
    push_span(L, r, r->query);
    break;
  case TARGET:
    push_span(L, r, r->head.target);
    break;
  case VERSION:
    lua_pushstring(L, r->head.minor ? "1.1" : "1.0");
    break;
  case KEEP_ALIVE:
    lua_pushboolean(L, r->head.keep_alive);
    break;
  case CONTENT_LENGTH:
    push_length(L, r);
    break;
  case BODY_STATUS:
    if (r->c && r->c->body.failed)
      lua_pushinteger(L, r->c->body.failed);
    else
      lua_pushnil(L);
    break;
  case OVER:
    lua_pushboolean(L, !r->c);
    break;
  default:
    push_of_connection(L, r, property);
  }
  return 1;
}

static int index_request(lua_State *L) {
  int property = grh_index(L);
  if (!property) return 1;
  return push_property(L, grh_check_request(L, 1), property);
}

static int newindex_request(lua_State *L) {
  grh_check_request(L, 1);
  if (grh_newindex(L))
    luaL_error(L, "'%s' of a request cannot be set", lua_tostring(L, 2));
  return 0;
}

/* --- fields ------------------------------------------------------------- */

static void push_value(lua_State *L, const grh_request *r, const grh_field *f) {
  lua_pushlstring(L, grh_bytes(r) + f->value, f->value_len);
}

/* header(req, name) -> value | nil: of several fields the values, joined */
static int header(lua_State *L) {
  grh_request *r = check_message(L);
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  const grh_field *f = grh_find_field(r, name, len);
  if (!f) return 0;
  push_value(L, r, f);
  const char *with = grh_same(name, len, "cookie", 6) ? "; " : ", ";
  while (++f < r->fields + r->head.count)
    if (has_name(r, f, name, len)) {
      lua_pushstring(L, with);
      push_value(L, r, f);
      lua_concat(L, 3);
    }
  return 1;
}

/* field(req, i) -> name, value | nothing */
static int field(lua_State *L) {
  grh_request *r = check_message(L);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 1 || i > r->head.count) return 0;
  const grh_field *f = &r->fields[i - 1];
  lua_pushlstring(L, grh_bytes(r) + f->name, f->name_len);
  push_value(L, r, f);
  return 2;
}

/* conditional(req) -> does it depend on what the client has, or ask for a part?
 */
static int conditional(lua_State *L) {
  grh_request *r = check_message(L);
  bool any = false;
  for (unsigned i = 0; i < r->head.count && !any; i++) {
    const char *name = grh_bytes(r) + r->fields[i].name;
    uint32_t n = r->fields[i].name_len;
    any = (n > 3 && !strncasecmp(name, "if-", 3)) ||
          grh_same(name, n, "range", 5);
  }
  lua_pushboolean(L, any);
  return 1;
}

const luaL_Reg grh_message_methods[] = {{"header", header},
                                        {"field", field},
                                        {"_conditional", conditional},
                                        {NULL, NULL}};

/* unescape(string [, plus]) -> string */
static int unescape(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  push_decoded(L, s, n, lua_toboolean(L, 2));
  return 1;
}

void grh_open_request(lua_State *L, grh_http *h) {
  static const luaL_Reg *const all[] = {grh_message_methods, grh_body_methods,
                                        grh_trailer_methods, NULL};
  static const luaL_Reg funcs[] = {{"unescape", unescape}, {NULL, NULL}};
  gr_setfuncs(L, h->S, funcs);
  grh_open_class(L, h->S, &grh_request_key, "request", all, properties,
                 index_request, newindex_request);
}
