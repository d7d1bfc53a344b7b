/* Sending a response: whole, in pieces, or not at all. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "http.h"

enum { SMALL_HEAD = 1024 };

/* --- pieces of memory ---------------------------------------------------- */

/* Write the head, `extra` behind it, a body and a suffix. */
static int put_head(grh_response *r, const char *extra, size_t ne,
                    const char *body, size_t nb, const char *suffix,
                    size_t ns) {
  char small[SMALL_HEAD], *head = small;
  size_t room = grh_head_room(r) + ne;
  if (room > sizeof small && !(head = gr_realloc(NULL, room))) {
    r->c->gone = r->c->ends = true;
    return -ENOMEM;
  }
  size_t n = grh_write_head(r, head);
  if (ne) memcpy(head + n, extra, ne);
  if (r->bodiless) nb = ns = ne = 0;
  int got = grh_put(r->c, head, n + ne, body, nb, suffix, ns);
  if (head != small) gr_free(head);
  return got;
}

void grh_settle_body(grh_response *r) {
  r->bodiless = grh_is_head(r->c->req) || r->status == 204 ||
                r->status == 205 || r->status == 304;
}

/* --- whole -------------------------------------------------------------- */

static const char *body_at(lua_State *L, grh_response *r, int arg, size_t *n) {
  const char *body = lua_tolstring(L, arg, n);
  if (*n && grh_gzips(r, *n)) {
    grh_gzip(L, r->c, body, *n, true);
    lua_replace(L, arg);
    body = lua_tolstring(L, arg, n);
  }
  return body;
}

int grh_send_body(lua_State *L, grh_response *r, int arg) {
  size_t n;
  const char *body = body_at(L, r, arg, &n);
  grh_settle_body(r);
  if (r->status != 304 || n) {
    r->sized = true;
    r->length = n;
  }
  r->state = GRH_SENT;
  r->sent = r->bodiless ? 0 : n;
  return put_head(r, NULL, 0, body, n, NULL, 0);
}

/* --- in pieces ---------------------------------------------------------- */

/* The first piece decides the framing. */
static void begin_body(grh_response *r) {
  grh_settle_body(r);
  r->chunked = !r->sized && r->c->req->head.minor && r->status != 204 &&
               r->status != 205 && r->status != 304;
  r->state = GRH_STREAMING;
}

static int too_much(lua_State *L, grh_response *r, size_t n) {
  return luaL_error(L, "Content-Length is %I, and %I bytes are written",
                    (lua_Integer)r->length, (lua_Integer)(r->sent + n));
}

/* Send the string at 2 as the next piece. */
static int put_piece(lua_State *L, grh_response *r) {
  size_t n;
  char prefix[24];
  size_t np = 0, ns = 0;
  bool fresh = r->state == GRH_FRESH;
  const char *body = lua_tolstring(L, 2, &n);
  if (fresh) (void)grh_gzips(r, 0);
  if (r->sized && r->sent + n > r->length && !grh_is_head(r->c->req))
    return too_much(L, r, n);
  if (fresh) begin_body(r);
  if (r->c->gzip && n && !r->bodiless) {
    grh_gzip(L, r->c, body, n, false);
    lua_replace(L, 2);
    body = lua_tolstring(L, 2, &n);
  }
  if (r->chunked && n) {
    np = (size_t)snprintf(prefix, sizeof prefix, "%zx\r\n", n);
    ns = 2;
  }
  if (!r->bodiless) r->sent += n;
  if (fresh) return put_head(r, prefix, np, body, n, "\r\n", ns);
  if (r->bodiless || !n) return 0;
  return grh_put(r->c, prefix, np, body, n, "\r\n", ns);
}

/* The end of what was sent in pieces, with its trailers. */
static int put_end(grh_response *r, const char *trailers, size_t n) {
  r->state = GRH_SENT;
  if (r->sized && !r->bodiless && r->sent != r->length) {
    r->c->cut = r->c->ends = true;
    return 0;
  }
  if (!r->chunked || r->bodiless) return 0;
  return grh_put(r->c, "0\r\n", 3, trailers, n, "\r\n", 2);
}

int grh_end_body(grh_response *r, const char *trailers, size_t n) {
  if (r->state == GRH_SENT) return 0;
  if (r->state == GRH_STREAMING) return put_end(r, trailers, n);
  grh_settle_body(r);
  r->state = GRH_SENT;
  if (!r->bodiless) r->sized = true; /* nothing: as long as it is */
  if (!r->bodiless) r->length = 0;
  return put_head(r, NULL, 0, NULL, 0, NULL, 0);
}

/* --- methods ------------------------------------------------------------ */

grh_response *grh_check_sending(lua_State *L) {
  static const gr_wait what = {.name = "write"};
  grh_response *r = grh_check_live(L, 1);
  grh_conn *c = r->c;
  if (c->taken) luaL_error(L, "the connection speaks another protocol");
  if (r->state == GRH_SENT) luaL_error(L, "the response has been sent");
  if (!gr_list_empty(&c->stream->writes.waiters))
    gr_check_free(L, gr_state_of(L), &c->stream->writes, &what, "the response");
  if (c->rest.bytes) { /* somebody was interrupted in the midst of it */
    grh_rest_drop(c);
    c->gone = c->cut = c->ends = true;
  }
  return r;
}

/* Make the body at 2 a string. */
static void check_body(lua_State *L) {
  if (lua_type(L, 2) != LUA_TTABLE) {
    luaL_checkstring(L, 2);
    return;
  }
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; lua_geti(L, 2, i) != LUA_TNIL; i++) {
    if (!lua_isstring(L, -1))
      luaL_error(L, "string expected at [%I] of a body, got %s", i,
                 luaL_typename(L, -1));
    luaL_addvalue(&b);
  }
  lua_pop(L, 1);
  luaL_pushresult(&b);
  lua_replace(L, 2);
}

/* send(res, body) -> true | nil, message */
static int send_whole(lua_State *L) {
  grh_response *r = grh_check_sending(L);
  if (r->state != GRH_FRESH) return luaL_error(L, "the head has been sent");
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushliteral(L, "");
    lua_replace(L, 2);
  }
  check_body(L);
  return grh_finish_put(L, gr_state_of(L), r->c, grh_send_body(L, r, 2));
}

/* write(res, piece) -> true | nil, message */
static int write_piece(lua_State *L) {
  grh_response *r = grh_check_sending(L);
  lua_settop(L, 2);
  check_body(L);
  return grh_finish_put(L, gr_state_of(L), r->c, put_piece(L, r));
}

/* With the trailers at 2: put the end of a compressed body there, as it goes
 * out. */
static void make_last_piece(lua_State *L, grh_response *r) {
  size_t n;
  luaL_Buffer b;
  grh_gzip(L, r->c, NULL, 0, true);
  const char *trailers = lua_tostring(L, 2), *last = lua_tolstring(L, 3, &n);
  r->sent += n;
  luaL_buffinit(L, &b);
  if (r->chunked) {
    char prefix[24];
    snprintf(prefix, sizeof prefix, "%zx\r\n", n);
    luaL_addstring(&b, prefix);
  }
  luaL_addlstring(&b, last, n);
  if (r->chunked) {
    luaL_addstring(&b, "\r\n0\r\n");
    luaL_addstring(&b, trailers);
    luaL_addstring(&b, "\r\n");
  }
  luaL_pushresult(&b);
  lua_replace(L, 2);
  lua_settop(L, 2);
}

static int put_last(lua_State *L, grh_response *r) {
  size_t n;
  bool gzips = r->state == GRH_STREAMING && r->c->gzip && !r->bodiless;
  if (gzips) make_last_piece(L, r);
  const char *s = lua_tolstring(L, 2, &n);
  if (!gzips) return grh_end_body(r, s, n);
  r->state = GRH_SENT;
  return grh_put(r->c, "", 0, s, n, NULL, 0);
}

int grh_finish(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  if (r->state == GRH_SENT) return lua_pushboolean(L, 1), 1;
  r = grh_check_sending(L);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_pushliteral(L, "");
    lua_replace(L, 2);
  }
  luaL_checkstring(L, 2);
  return grh_finish_put(L, gr_state_of(L), r->c, put_last(L, r));
}

/* _gather(res): pieces that follow one another without a wait between them go
 * out together */
static int gather(lua_State *L) {
  grh_check_live(L, 1)->c->stream->gathers = true;
  return 0;
}

/* abort(res): the other side is not to take what it has for the whole */
static int abort_response(lua_State *L) {
  grh_response *r = grh_check_live(L, 1);
  r->c->cut = r->c->ends = true;
  return 0;
}

/* inform(res, status, lines) -> true | nil, message: an interim response */
static int inform(lua_State *L) {
  grh_response *r = grh_check_sending(L);
  int status = (int)luaL_checkinteger(L, 2);
  size_t n;
  const char *lines = luaL_optlstring(L, 3, "", &n);
  luaL_argcheck(L, status >= 102 && status < 200, 2, "102 to 199 expected");
  if (r->state != GRH_FRESH || !r->c->req->head.minor)
    return lua_pushboolean(L, 1), 1;
  lua_pushfstring(L, "HTTP/1.1 %d %s\r\n%s\r\n", status, grh_reason(status),
                  lines);
  lua_replace(L, 2);
  lua_settop(L, 2);
  const char *all = lua_tolstring(L, 2, &n);
  return grh_finish_put(L, gr_state_of(L), r->c,
                        grh_put(r->c, "", 0, all, n, NULL, 0));
}

static bool is_token(const char *s) {
  size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789-._/");
  return n && !s[n];
}

/* upgrade(res, protocol) -> socket | nil, message: 101, and from then on the
 * connection is the handler's */
static int upgrade_k(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  if (!lua_toboolean(L, -1)) return lua_gettop(L) - 2;
  lua_getiuservalue(L, 1, 2);
  lua_getiuservalue(L, -1, GRH_V_SOCKET);
  return 1;
}

static int upgrade(lua_State *L) {
  grh_response *r = grh_check_sending(L);
  grh_conn *c = r->c;
  const char *protocol = luaL_optstring(L, 2, NULL);
  if (r->state != GRH_FRESH) return luaL_error(L, "the head has been sent");
  luaL_argcheck(L, !protocol || is_token(protocol), 2, "a protocol expected");
  if (c->body.state != GRH_B_DONE) {
    /* Its bytes would be taken for the other protocol's. */
    lua_pushnil(L);
    lua_pushliteral(L, "the request has a body");
    return 2;
  }
  lua_settop(L, 2);
  if (protocol) {
    grh_remove_line(r, "Connection", 10);
    grh_remove_line(r, "Upgrade", 7);
    if (!grh_add_line(r, "Connection", 10, "Upgrade", 7) ||
        !grh_add_line(r, "Upgrade", 7, protocol, strlen(protocol)))
      return luaL_error(L, "not enough memory");
  }
  /* A tunnel (CONNECT) is opened by a 200. */
  r->status = c->req->head.method == HTTP_CONNECT ? 200 : 101;
  r->upgrades = r->bodiless = true;
  r->state = GRH_SENT;
  r->sized = false;
  c->taken = c->ends = true;
  int got = put_head(r, NULL, 0, NULL, 0, NULL, 0);
  if (got != -EAGAIN) {
    lua_settop(L, 2);
    if (got) return grh_fail(L, got);
    lua_pushboolean(L, 1);
    return upgrade_k(L, 0, 0);
  }
  lua_settop(L, 2);
  lua_pushlightuserdata(L, gr_state_of(L));
  lua_pushcclosure(L, grh_flush, 1);
  lua_pushvalue(L, 1);
  lua_pushliteral(L, "");
  lua_callk(L, 2, LUA_MULTRET, 0, upgrade_k);
  return upgrade_k(L, 0, 0);
}

const luaL_Reg grh_send_methods[] = {
    {"send", send_whole},    {"write", write_piece},
    {"_finish", grh_finish}, {"abort", abort_response},
    {"_gather", gather},     {"_inform", inform},
    {"upgrade", upgrade},    {NULL, NULL}};
