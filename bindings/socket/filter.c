/* A socket gets a filter (host/filter.h), from whatever binding makes it. */
#include "filter.h"

#include <errno.h>

#include "socket.h"

static const gr_wait handshake_wait = {.name = "handshake"};

/* filter(socket, filter, metatable [, bytes that have come already]) -> the
 * socket | nil, message.  From then on the filter is its user value, and its
 * class is that of a client. */
static int put_filter(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_STREAM);
  gr_filter *f = lua_touserdata(L, 2);
  luaL_argcheck(
      L, f && lua_rawlen(L, 2) >= sizeof *f && f->magic == &gr_filter_magic, 2,
      "filter expected");
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_argcheck(L, s->class != GRB_SERVER, 1, "a listening socket");
  luaL_argcheck(L, !s->stream.filter, 1, "it has a filter already");
  gr_state *S = gr_state_of(L);
  grb_check_free(L, S, s, GRB_READ, &handshake_wait);
  grb_check_free(L, S, s, GRB_WRITE, &handshake_wait);
  size_t n;
  const char *bytes = luaL_optlstring(L, 4, "", &n);
  if (grb_fd(s) >= 0) {
    if (s->stream.out.len) gr_stream_flush(&s->stream);
    int err = gr_filter_attach(f, &s->stream, bytes, n);
    if (err) return grb_fail(L, -err);
  }
  lua_settop(L, 3);
  s->class = GRB_CLIENT;
  lua_setmetatable(L, 1);
  lua_setiuservalue(L, 1, 1);
  return 1;
}

enum { WAITED, POLLED }; /* what handshake_k is called after */

static int handshake_k(lua_State *L, int status, lua_KContext ctx);

static int failed(lua_State *L, grb_socket *s, gr_filter *f, int err) {
  lua_pushnil(L);
  lua_pushstring(L, err == EPROTO && f->message
                        ? f->message
                        : grb_stream_message(&s->stream, GRB_READ, err));
  return 2;
}

static int go_on(lua_State *L, gr_state *S, grb_socket *s, bool last) {
  gr_filter *f = s->stream.filter;
  if (!f) return grb_fail(L, 0);
  int got = gr_filter_handshake(&s->stream, L);
  if (got == -ECANCELED) return lua_error(L);
  if (got == -EAGAIN && !last)
    return grb_wait(L, S, s, GRB_READ, &handshake_wait, WAITED, handshake_k);
  if (got == -EAGAIN && grb_gives_way(L, S, true))
    return grb_give_way(L, S, POLLED, handshake_k);
  if (got == -EAGAIN) return failed(L, s, f, ETIMEDOUT);
  if (got < 0) return failed(L, s, f, -got);
  lua_pushboolean(L, 1);
  return 1;
}

static int handshake_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, handshake_k);
  grb_socket *s = lua_touserdata(L, 1);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 2);
  return go_on(L, S, s, how == GR_TIMEDOUT || ctx == POLLED);
}

/* handshake(socket [, timeout]) -> true | nil, message.  Without a timeout the
 * socket's own counts. */
static int handshake(lua_State *L) {
  grb_socket *s = grb_check(L, GRB_STREAM);
  gr_state *S = gr_state_of(L);
  bool own = lua_isnoneornil(L, 2);
  double at = own ? 0 : gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  grb_check_free(L, S, s, GRB_READ, &handshake_wait);
  grb_begin(s, GRB_READ);
  if (!own) s->until[GRB_READ] = at;
  return go_on(L, S, s, own ? grb_polls(s) : at == 0);
}

const luaL_Reg grb_filter_funcs[] = {
    {"filter", put_filter}, {"handshake", handshake}, {NULL, NULL}};
