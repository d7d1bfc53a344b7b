/* Sending: a message goes to the stream's queue whole, or not at all. */
#include <errno.h>
#include <string.h>

#include "filter.h"
#include "websocket.h"

static const gr_wait send_wait = {.name = "send"};

static int refused(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  return 2;
}

/* What came of queueing: true | nil, "closed" | false: not now. */
static int queued(lua_State *L, grw_socket *w, int err) {
  if (err == -EAGAIN) return lua_pushboolean(L, 0), 1;
  if (err == -ENOMEM) return luaL_error(L, "not enough memory");
  if (err) {
    grw_end(w, 1006, NULL, 0);
    return refused(L);
  }
  return lua_pushboolean(L, 1), 1;
}

static bool is_closed(const grw_socket *w) {
  return w->over || w->sent_close || gr_stream_fd(w->stream) < 0;
}

static uint8_t check_kind(lua_State *L, int arg) {
  const char *kind = luaL_optstring(L, arg, "text");
  if (!strcmp(kind, "text")) return WSLAY_TEXT_FRAME;
  if (!strcmp(kind, "binary")) return WSLAY_BINARY_FRAME;
  return (uint8_t)luaL_argerror(L, arg, "\"text\" or \"binary\" expected");
}

static int send_message(lua_State *L, grw_socket *w, uint8_t kind,
                        const char *data, size_t n) {
  if (w->squeeze.bits && n >= w->squeeze_min) {
    size_t size;
    const char *small = grw_deflate(w, data, n, &size);
    /* Half a message is in the compressor's memory: there is no way on. */
    if (!small) {
      grw_fail(w, 1011, "out of memory");
      return luaL_error(L, "not enough memory");
    }
    return queued(L, w, grw_send_frame(w, kind, true, true, small, size));
  }
  return queued(L, w, grw_send_frame(w, kind, true, false, data, n));
}

/* Is too much queued?  What has only been gathered is no sign of a peer that
 * is slow. */
static bool is_full(grw_socket *w) {
  gr_stream *s = w->stream;
  if (s->out.len <= w->high) return false;
  if (!s->draining) (void)gr_stream_flush(s);
  return s->out.len > w->high;
}

/* _send(ws, data, kind, mine) -> true | nil, "closed" | false: the queue is
 * full, or another sender holds it (unless `mine`) */
static int send_data(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  size_t n;
  const char *data = luaL_checklstring(L, 2, &n);
  uint8_t kind = check_kind(L, 3);
  if (kind == WSLAY_TEXT_FRAME && !grw_is_utf8(data, n))
    return luaL_argerror(L, 2, "a text must be valid UTF-8");
  if (is_closed(w)) return refused(L);
  if ((w->held && !lua_toboolean(L, 4)) || is_full(w))
    return lua_pushboolean(L, 0), 1;
  return send_message(L, w, kind, data, n);
}

/* _fragment(ws, data, kind, first, last) -> as _send, by who holds it */
static int send_fragment(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  size_t n;
  const char *data = luaL_checklstring(L, 2, &n);
  uint8_t kind = check_kind(L, 3);
  if (is_closed(w)) return refused(L);
  if (is_full(w)) return lua_pushboolean(L, 0), 1;
  if (!lua_toboolean(L, 4)) kind = WSLAY_CONTINUATION_FRAME;
  return queued(L, w,
                grw_send_frame(w, kind, lua_toboolean(L, 5), false, data, n));
}

/* _ping(ws, data, pong) -> true | nil, "closed" */
static int send_ping(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  size_t n;
  const char *data = luaL_optlstring(L, 2, "", &n);
  uint8_t opcode = lua_toboolean(L, 3) ? WSLAY_PONG : WSLAY_PING;
  luaL_argcheck(L, n <= GRW_CONTROL, 2, "at most 125 bytes expected");
  if (is_closed(w)) return refused(L);
  return queued(L, w, grw_send_frame(w, opcode, true, false, data, n));
}

/* _send_close(ws [, code [, reason]]): unless that has been done */
static int send_close(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  size_t n;
  int code = (int)luaL_optinteger(L, 2, 0);
  const char *reason = luaL_optlstring(L, 3, "", &n);
  luaL_argcheck(L, n <= GRW_CONTROL - 2, 3, "at most 123 bytes expected");
  luaL_argcheck(L, grw_is_utf8(reason, n), 3, "a text must be valid UTF-8");
  if (!w->over && gr_stream_fd(w->stream) >= 0)
    grw_send_close(w, code, reason, n);
  return 0;
}

/* _fail(ws, code, reason): at once */
static int fail(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  grw_fail(w, (int)luaL_checkinteger(L, 2), luaL_checkstring(L, 3));
  return 0;
}

/* _set_held(ws, held): may only one sender send? */
static int set_held(lua_State *L) {
  grw_check(L, 1)->held = lua_toboolean(L, 2);
  return 0;
}

static int drained_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, drained_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 2);
  lua_pushboolean(L, how != GR_TIMEDOUT);
  return 1;
}

/* _await_drain(ws [, timeout]) -> true; false: the time has run out.  What has
 * been sent has gone to the kernel, or the connection has ended. */
static int await_drain(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  gr_state *S = gr_state_of(L);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  gr_stream *s = w->stream;
  if (s->out.len && !s->draining) gr_stream_flush(s);
  bool renegotiates = s->filter && s->filter->negotiating;
  if (gr_stream_fd(s) < 0 || (!s->draining && !renegotiates))
    return lua_pushboolean(L, 1), 1;
  gr_check_free(L, S, &s->writes, &send_wait, "the WebSocket");
  return gr_park_io(L, S, &s->writes, at, &send_wait, 0, drained_k);
}

const luaL_Reg grw_send_methods[] = {{"_send", send_data},
                                     {"_fragment", send_fragment},
                                     {"_ping", send_ping},
                                     {"_send_close", send_close},
                                     {"_fail", fail},
                                     {"_set_held", set_held},
                                     {"_await_drain", await_drain},
                                     {NULL, NULL}};
