/* Receiving, and the end of a connection. */
#include <errno.h>
#include <math.h>

#include "websocket.h"

static const gr_wait receive_wait = {.name = "receive"};
static const gr_wait end_wait = {.name = "close"};

enum { DISCARDED = 4 << 20 }; /* bytes at most, after the end */

/* What receive_k is called after. */
enum { PARKED, GAVE_WAY };

static int receive_k(lua_State *L, int status, lua_KContext ctx);

/* --- results ------------------------------------------------------------ */

static int push_end(lua_State *L, const grw_socket *w) {
  lua_pushnil(L);
  lua_pushliteral(L, "closed");
  lua_pushinteger(L, w->code);
  lua_pushlstring(L, (const char *)w->control, w->reason_len);
  return 4;
}

/* The reader's time is over; what has ended has ended. */
static int late(lua_State *L, const grw_socket *w) {
  if (w->over) return push_end(L, w);
  gr_timed_out(L, 2);
  lua_pushnil(L);
  lua_pushliteral(L, "timeout");
  return 2;
}

static int push_message(lua_State *L, grw_socket *w) {
  lua_pushlstring(L, w->direct ? w->direct : w->bytes ? w->bytes : "", w->len);
  if (w->kind == WSLAY_TEXT_FRAME)
    lua_pushliteral(L, "text");
  else
    lua_pushliteral(L, "binary");
  if (w->pieces) lua_pushboolean(L, w->last);
  if (w->last) w->kind = 0;
  w->last = false;
  if (w->bytes)
    grw_message_drop(w);
  else
    w->direct = NULL, w->len = 0;
  return w->pieces ? 3 : 2;
}

/* --- after the end ------------------------------------------------------ */

/* Read what the other side still sends and forget it, until it closes: a
 * server that closes in good order need not. */
static void discard(grw_socket *w) {
  gr_stream *s = w->stream;
  bool good = w->got_close && !w->client;
  if (good || w->discarded > DISCARDED ||
      gr_hub_now(gr_stream_hub(s)) >= w->close_by)
    gr_stream_close(s);
  else if (s->in.len) {
    w->discarded += s->in.len;
    gr_stream_skip(s, s->in.len);
  }
}

/* The stream has come to its end. */
static void cut(grw_socket *w) {
  grw_end(w, 1006, NULL, 0);
  gr_stream_close(w->stream);
}

/* Nobody takes what is queued. */
static void drop(grw_socket *w) {
  grw_end(w, 1006, NULL, 0);
  gr_stream_abort(w->stream);
}

/* --- times -------------------------------------------------------------- */

/* Until when its silence is borne. */
static double patience(grw_socket *w) {
  if (w->over || w->sent_close) return w->close_by;
  if (isinf(w->ping)) return INFINITY;
  if (w->heard == 0) w->heard = gr_hub_now(gr_stream_hub(w->stream));
  return w->heard + w->ping + (w->pinged ? w->pong : 0);
}

/* That time has come. */
static void lose_patience(grw_socket *w) {
  if (!w->over && !w->sent_close && !w->pinged) {
    w->pinged = true;
    (void)grw_send_frame(w, WSLAY_PING, true, false, "", 0);
  } else {
    drop(w);
  }
}

/* --- the loop ----------------------------------------------------------- */

static int park(lua_State *L, gr_state *S, grw_socket *w) {
  double at = patience(w);
  if (w->until < at) at = w->until;
  return gr_park_io(L, S, &w->stream->reads, at, &receive_wait, PARKED,
                    receive_k);
}

static int go_on(lua_State *L, gr_state *S, grw_socket *w) {
  gr_stream *s = w->stream;
  for (;;) {
    if (!w->over && grw_next(w) == GRW_MESSAGE) return push_message(L, w);
    if (w->over && !w->got_close && !w->told) {
      w->told = true; /* what still comes can wait */
      return push_end(L, w);
    }
    if (w->over && gr_stream_fd(s) >= 0) discard(w);
    if (gr_stream_fd(s) < 0) {
      grw_end(w, 1006, NULL, 0);
      return push_end(L, w);
    }
    int got = gr_stream_fill(s, 0, !w->polls);
    if (got == -EAGAIN) return w->polls ? late(L, w) : park(L, S, w);
    if (got <= 0) cut(w);
    w->heard = 0;
    w->pinged = false;
  }
}

static int receive_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, receive_k);
  grw_socket *w = lua_touserdata(L, 1);
  if (ctx == PARKED && how == GR_TIMEDOUT) {
    double now = gr_hub_now(&S->hub);
    if (patience(w) <= now) {
      lose_patience(w);
    } else if (w->until <= now) {
      return late(L, w);
    }
  }
  return go_on(L, S, w);
}

static int receive(lua_State *L, bool pieces) {
  grw_socket *w = grw_check(L, 1);
  gr_state *S = gr_state_of(L);
  double until = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  if (!gr_list_empty(&w->stream->reads.waiters))
    gr_check_free(L, S, &w->stream->reads, &receive_wait, "the WebSocket");
  w->until = until;
  w->pieces = pieces;
  w->polls = !isinf(until) && until <= gr_hub_now(&S->hub);
  if (gr_gives_way(L, S, 1)) return gr_let_others(L, S, GAVE_WAY, receive_k);
  return go_on(L, S, w);
}

/* receive(ws [, timeout]) -> message, "text" | "binary" | nil, "closed", code,
 * reason | nil, "timeout" */
static int receive_message(lua_State *L) {
  return receive(L, false);
}

/* _next(ws) -> the same, without end, whatever a for statement hands it */
static int next_message(lua_State *L) {
  lua_settop(L, 1);
  return receive(L, false);
}

/* _linger(ws, timeout): as receive, but a failure is known, and what the other
 * side still sends is read until it closes */
static int linger(lua_State *L) {
  grw_check(L, 1)->told = true;
  return receive(L, false);
}

/* receive_some(ws [, timeout]) -> piece, kind, is it the last? | as receive */
static int receive_some(lua_State *L) {
  return receive(L, true);
}

/* --- its end ------------------------------------------------------------ */

static int ended_k(lua_State *L, int status, lua_KContext ctx) {
  gr_state *S = gr_state_of(L);
  (void)status;
  int how = gr_woken(L, S, ctx, ended_k);
  if (how == GR_TIMEDOUT) gr_timed_out(L, 2);
  lua_pushboolean(L, how != GR_TIMEDOUT);
  return 1;
}

/* _await_end(ws [, timeout]) -> true; false: the time has run out */
static int await_end(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  gr_state *S = gr_state_of(L);
  double at = gr_check_deadline(L, S, 2);
  lua_settop(L, 2);
  if (w->over) return lua_pushboolean(L, 1), 1;
  gr_greenlet *g = gr_can_block(L, S, at);
  gr_list_append(&w->enders, &g->w.node);
  gr_arm(&S->hub, at, false);
  return gr_park(L, S, &end_wait, true, 0, ended_k);
}

/* _is_read(ws) -> does somebody wait for a message? */
static int is_read(lua_State *L) {
  grw_socket *w = grw_check(L, 1);
  lua_pushboolean(L, !gr_list_empty(&w->stream->reads.waiters));
  return 1;
}

/* _cut(ws): close the connection without a word more than is queued */
static int cut_off(lua_State *L) {
  cut(grw_check(L, 1));
  return 0;
}

/* _drop(ws): and without that */
static int drop_off(lua_State *L) {
  drop(grw_check(L, 1));
  return 0;
}

const luaL_Reg grw_receive_methods[] = {{"receive", receive_message},
                                        {"receive_some", receive_some},
                                        {"_next", next_message},
                                        {"_await_end", await_end},
                                        {"_is_read", is_read},
                                        {"_cut", cut_off},
                                        {"_drop", drop_off},
                                        {"_linger", linger},
                                        {NULL, NULL}};
