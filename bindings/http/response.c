/* The response object, and its head. */
#include <stdio.h>
#include <string.h>

#include "http.h"

const char grh_response_key;

/* --- the object --------------------------------------------------------- */

grh_response *grh_new_response(lua_State *L, grh_conn *c) {
  grh_response *r = lua_newuserdatauv(L, sizeof *r, 2);
  memset(r, 0, offsetof(grh_response, inline_));
  r->magic = &grh_response_key;
  r->c = c;
  r->status = 200;
  r->room = GRH_INLINE;
  r->lines = r->inline_;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &grh_response_key);
  lua_setmetatable(L, -2);
  return r;
}

grh_response *grh_check_response(lua_State *L, int arg) {
  grh_response *r = lua_touserdata(L, arg);
  if (!r || lua_type(L, arg) != LUA_TUSERDATA ||
      lua_rawlen(L, arg) != sizeof *r || r->magic != &grh_response_key)
    luaL_typeerror(L, arg, "response");
  return r;
}

grh_response *grh_check_live(lua_State *L, int arg) {
  grh_response *r = grh_check_response(L, arg);
  if (!r->c) luaL_error(L, "the response is over: its handler has returned");
  return r;
}

/* --- the head ----------------------------------------------------------- */

static const struct {
  int status;
  const char *text;
} reasons[] = {{100, "Continue"},
               {101, "Switching Protocols"},
               {103, "Early Hints"},
               {200, "OK"},
               {201, "Created"},
               {202, "Accepted"},
               {203, "Non-Authoritative Information"},
               {204, "No Content"},
               {205, "Reset Content"},
               {206, "Partial Content"},
               {207, "Multi-Status"},
               {208, "Already Reported"},
               {226, "IM Used"},
               {300, "Multiple Choices"},
               {301, "Moved Permanently"},
               {302, "Found"},
               {303, "See Other"},
               {304, "Not Modified"},
               {307, "Temporary Redirect"},
               {308, "Permanent Redirect"},
               {400, "Bad Request"},
               {401, "Unauthorized"},
               {402, "Payment Required"},
               {403, "Forbidden"},
               {404, "Not Found"},
               {405, "Method Not Allowed"},
               {406, "Not Acceptable"},
               {407, "Proxy Authentication Required"},
               {408, "Request Timeout"},
               {409, "Conflict"},
               {410, "Gone"},
               {411, "Length Required"},
               {412, "Precondition Failed"},
               {413, "Content Too Large"},
               {414, "URI Too Long"},
               {415, "Unsupported Media Type"},
               {416, "Range Not Satisfiable"},
               {417, "Expectation Failed"},
               {418, "I'm a teapot"},
               {421, "Misdirected Request"},
               {422, "Unprocessable Content"},
               {423, "Locked"},
               {424, "Failed Dependency"},
               {425, "Too Early"},
               {426, "Upgrade Required"},
               {428, "Precondition Required"},
               {429, "Too Many Requests"},
               {431, "Request Header Fields Too Large"},
               {451, "Unavailable For Legal Reasons"},
               {500, "Internal Server Error"},
               {501, "Not Implemented"},
               {502, "Bad Gateway"},
               {503, "Service Unavailable"},
               {504, "Gateway Timeout"},
               {505, "HTTP Version Not Supported"},
               {506, "Variant Also Negotiates"},
               {507, "Insufficient Storage"},
               {508, "Loop Detected"},
               {511, "Network Authentication Required"}};

const char *grh_reason(int status) {
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    if (reasons[i].status == status) return reasons[i].text;
  return "Unknown";
}

const char *grh_date(grh_http *h) {
  time_t now = time(NULL);
  if (now != h->date_at) {
    h->date_at = now;
    grh_format_date(now, h->date);
  }
  return h->date;
}

void grh_format_date(time_t at, char to[GRH_DATE + 1]) {
  static const char days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  struct tm t;
  gmtime_r(&at, &t);
  snprintf(to, GRH_DATE + 1, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
           days + 3 * t.tm_wday, (unsigned)t.tm_mday % 100,
           months + 3 * t.tm_mon, (unsigned)(t.tm_year + 1900) % 10000,
           (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100,
           (unsigned)t.tm_sec % 100);
}

enum { OWN = 320 }; /* bytes of a head that are not the program's */

size_t grh_head_room(const grh_response *r) {
  return r->used + OWN + (r->reason ? strlen(r->reason) : 0);
}

static char *put(char *to, const char *s, size_t n) {
  memcpy(to, s, n);
  return to + n;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

static char *put_number(char *to, uint64_t n) {
  char digits[20];
  int i = 20;
  do digits[--i] = (char)('0' + n % 10);
  while (n /= 10);
  return put(to, digits + i, (size_t)(20 - i));
}

static char *put_status(char *to, const grh_response *r) {
  if (r->status == 200 && !r->reason) return PUT(to, "HTTP/1.1 200 OK\r\n");
  const char *reason = r->reason ? r->reason : grh_reason(r->status);
  to = PUT(to, "HTTP/1.1 ");
  to = put_number(to, r->status);
  *to++ = ' ';
  to = put(to, reason, strlen(reason));
  return PUT(to, "\r\n");
}

static bool has_no_length(int status) {
  return status < 200 || status == 204;
}

/* Whether the connection ends with this turn is decided now. */
static void decide_end(grh_conn *c) {
  const grh_body *b = &c->body;
  bool unread = b->state != GRH_B_DONE;
  if (c->server->stopping || (unread && b->expected) || b->failed ||
      (unread && !b->chunked && b->left > c->server->drain_max))
    c->ends = true;
}

static char *put_framing(grh_response *r, char *to) {
  if (has_no_length(r->status)) return to;
  /* Who knows 205 expects nothing, who does not is told so. */
  if (r->status == 205) return PUT(to, "Content-Length: 0\r\n");
  if (r->sized) {
    to = PUT(to, "Content-Length: ");
    to = put_number(to, r->length);
    return PUT(to, "\r\n");
  }
  return r->chunked ? PUT(to, "Transfer-Encoding: chunked\r\n") : to;
}

static char *put_connection(grh_response *r, char *to) {
  if (r->upgrades) return to;
  if (r->c->ends) return PUT(to, "Connection: close\r\n");
  return r->c->req->head.minor ? to : PUT(to, "Connection: keep-alive\r\n");
}

/* Is there a body, or would there be one for a GET? */
static bool tells_of_body(const grh_response *r) {
  if (r->status == 205 || r->status == 304 || has_no_length(r->status))
    return false;
  if (r->sized) return r->length > 0;
  return !r->bodiless || r->chunked;
}

size_t grh_write_head(grh_response *r, char *start) {
  char *to = start;
  grh_conn *c = r->c;
  if (!r->upgrades) decide_end(c);
  if (!r->sized && !r->chunked && !has_no_length(r->status) && !r->bodiless)
    c->ends = true;
  to = put_status(to, r);
  if (!r->dated) {
    to = PUT(to, "Date: ");
    to = put(to, grh_date(c->http), GRH_DATE);
    to = PUT(to, "\r\n");
  }
  to = put(to, r->lines, r->used);
  if (!r->typed && tells_of_body(r))
    to = PUT(to, "Content-Type: text/plain; charset=utf-8\r\n");
  to = put_framing(r, to);
  to = put_connection(r, to);
  return (size_t)(PUT(to, "\r\n") - start);
}

/* --- properties --------------------------------------------------------- */

enum {
  STATUS = 1,
  HEAD_SENT,
  FINISHED,
  BYTES_SENT,
  COMPRESS,
  OVER,
  REQUEST,
  REASON
};

static const char *const properties[] = {"status",     "head_sent", "finished",
                                         "bytes_sent", "compress",  "over",
                                         "request",    "reason",    NULL};

static int push_property(lua_State *L, grh_response *r, int property) {
  switch (property) {
  case STATUS:
    lua_pushinteger(L, r->status);
    break;
  case HEAD_SENT:
    lua_pushboolean(L, r->state != GRH_FRESH);
    break;
  case FINISHED:
    lua_pushboolean(L, r->state == GRH_SENT);
    break;
  case BYTES_SENT:
    lua_pushinteger(L, (lua_Integer)r->sent);
    break;
  case COMPRESS:
    lua_pushboolean(L, !r->plain);
    break;
  case OVER:
    lua_pushboolean(L, !r->c);
    break;
  case REASON:
    lua_pushstring(L, r->reason ? r->reason : grh_reason(r->status));
    break;
  case REQUEST:
    lua_pushnil(L);
    if (!r->c) break;
    lua_getiuservalue(L, 1, 2);
    lua_getiuservalue(L, -1, GRH_V_REQUEST);
    break;
  default:
    break;
  }
  return 1;
}

static int index_response(lua_State *L) {
  int property = grh_index(L);
  if (!property) return 1;
  return push_property(L, grh_check_response(L, 1), property);
}

static void set_status(lua_State *L, grh_response *r) {
  int is_number;
  lua_Integer status = lua_tointegerx(L, 3, &is_number);
  if (!is_number || status < 200 || status > 599)
    luaL_error(L, "bad status '%s' (200 to 599)", luaL_tolstring(L, 3, NULL));
  if (r->state != GRH_FRESH) luaL_error(L, "the head has been sent");
  r->status = (uint16_t)status;
  r->reason = NULL; /* it was of the other */
}

/* The string is kept in the table of the program's own fields, under the name
 * that the property hides. */
static void set_reason(lua_State *L, grh_response *r) {
  size_t n;
  if (r->state != GRH_FRESH) luaL_error(L, "the head has been sent");
  r->reason = NULL;
  if (lua_isnil(L, 3)) return;
  const char *s =
      lua_type(L, 3) == LUA_TSTRING ? lua_tolstring(L, 3, &n) : NULL;
  if (!s || !grh_is_value(s, n))
    luaL_error(L, "bad reason '%s' (a string without control characters)",
               luaL_tolstring(L, 3, NULL));
  if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
  }
  lua_pushvalue(L, 3);
  lua_setfield(L, -2, "reason");
  r->reason = s;
}

static int newindex_response(lua_State *L) {
  grh_response *r = grh_check_response(L, 1);
  int property = grh_newindex(L);
  if (property == STATUS)
    set_status(L, r);
  else if (property == REASON)
    set_reason(L, r);
  else if (property == COMPRESS)
    r->plain = !lua_toboolean(L, 3);
  else if (property)
    luaL_error(L, "'%s' of a response cannot be set", lua_tostring(L, 2));
  return 0;
}

/* --- the module's ------------------------------------------------------- */

/* date_value(text) -> seconds since 1970 | nil: what HTTP's three forms of a
 * date mean */
static int date_value(lua_State *L) {
  static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT",
                                      "%A, %d-%b-%y %H:%M:%S GMT",
                                      "%a %b %e %H:%M:%S %Y"};
  const char *text = luaL_checkstring(L, 1);
  for (int i = 0; i < 3; i++) {
    struct tm t = {.tm_isdst = 0};
    const char *end = strptime(text, forms[i], &t);
    if (!end || *end) continue;
    lua_pushinteger(L, (lua_Integer)timegm(&t));
    return 1;
  }
  return lua_pushnil(L), 1;
}

/* reason(status) -> its words in the standard */
static int reason(lua_State *L) {
  lua_pushstring(L, grh_reason((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* The first second of the year 0, and the last of 9999. */
static const lua_Integer FIRST = -62167219200, LAST = 253402300799;

/* date([seconds since 1970]) -> as a Date field has it */
static int date(lua_State *L) {
  char text[GRH_DATE + 1];
  lua_Integer at = luaL_optinteger(L, 1, (lua_Integer)time(NULL));
  luaL_argcheck(L, at >= FIRST && at <= LAST, 1,
                "a time in the years 0 to 9999 expected");
  grh_format_date((time_t)at, text);
  lua_pushlstring(L, text, GRH_DATE);
  return 1;
}

void grh_open_response(lua_State *L, grh_http *h) {
  static const luaL_Reg *const all[] = {grh_field_methods, grh_send_methods,
                                        grh_file_methods,  grh_watch_methods,
                                        grh_gzip_methods,  NULL};
  static const luaL_Reg funcs[] = {{"reason", reason},
                                   {"date", date},
                                   {"date_value", date_value},
                                   {NULL, NULL}};
  gr_setfuncs(L, h->S, funcs);
  grh_open_class(L, h->S, &grh_response_key, "response", all, properties,
                 index_response, newindex_response);
}
