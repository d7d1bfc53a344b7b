/* What a response that goes on for long wants to know: of the client's going,
 * and of the handler's end. */
#include <errno.h>

#include "http.h"

static const gr_wait gone_wait = {.name = "client"};

static int gone_k(lua_State *L, int status, lua_KContext ctx);

/* What it sends is kept for the next turn, up to a limit: then only a failing
 * write tells. */
static int watch(lua_State *L, gr_state *S, grh_conn *c) {
  gr_stream *s = c->stream;
  int got = 1;
  while (got > 0 && s->in.len < GR_STREAM_BUFFER && gr_stream_fd(s) >= 0)
    got = gr_stream_fill(s, 0, true);
  if (got == -EAGAIN)
    return gr_park_io(L, S, &s->reads, lua_tonumber(L, 3), &gone_wait, 0,
                      gone_k);
  if (got > 0 && gr_stream_fd(s) >= 0) return lua_pushnil(L), 1;
  return lua_pushboolean(L, 1), 1;
}

static int gone_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, gone_k);
  grh_response *r = lua_touserdata(L, 1);
  if (how == GR_TIMEDOUT) return lua_pushboolean(L, 0), 1;
  if (!r->c) return lua_pushboolean(L, 1), 1;
  return watch(L, S, r->c);
}

/* _await_gone(res, seconds) -> true: the client has gone; false: not in that
 * time; nil: it cannot be told */
static int await_gone(lua_State *L) {
  gr_state *S = gr_state_of(L);
  grh_response *r = grh_check_response(L, 1);
  double at = gr_check_deadline(L, S, 2);
  if (!r->c) return lua_pushboolean(L, 1), 1;
  lua_settop(L, 2);
  lua_pushnumber(L, at);
  gr_check_free(L, S, &r->c->stream->reads, &gone_wait, "the connection");
  return watch(L, S, r->c);
}

/* _guest(res, object): object:_leave("returned"), or object:_leave("failed",
 * error), is called when the handler has ended, before anything else; or
 * object:_leave("killed"), which must not wait */
static int set_guest(lua_State *L) {
  grh_conn *c = grh_check_live(L, 1)->c;
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 2);
  lua_insert(L, 2);
  lua_setiuservalue(L, 2, GRH_V_GUEST);
  c->guest = true;
  return 0;
}

const luaL_Reg grh_watch_methods[] = {
    {"_await_gone", await_gone}, {"_guest", set_guest}, {NULL, NULL}};
