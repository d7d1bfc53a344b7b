/* Messages from frames, and what control frames ask for. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "alloc.h"
#include "websocket.h"

/* --- ends --------------------------------------------------------------- */

static bool have_control(grw_socket *w) {
  if (!w->control) w->control = gr_realloc(NULL, GRW_CONTROL);
  return w->control;
}

void grw_end(grw_socket *w, int code, const char *reason, size_t n) {
  if (w->over) return;
  w->over = true;
  w->code = (uint16_t)code;
  if (n && !have_control(w)) n = 0;
  w->reason_len = (uint8_t)n;
  if (n) memmove(w->control, reason, n);
  double by = gr_hub_now(gr_stream_hub(w->stream)) + w->close_limit;
  if (w->close_by == 0 || by < w->close_by) w->close_by = by;
  grw_message_drop(w);
  grw_deflate_drop(w);
  grw_decoder_drop(w);
  gr_wake_all(&w->shared->S->hub, &w->enders, GR_WOKEN);
}

void grw_fail(grw_socket *w, int code, const char *reason) {
  size_t n = strlen(reason);
  if (w->over) return;
  grw_send_close(w, code, reason, n);
  grw_end(w, code, reason, n);
  /* What it still sends is read and forgotten: a close in the midst of it would
   * take our last frame from it. */
  if (gr_stream_fd(w->stream) >= 0) gr_stream_shutdown(w->stream, SHUT_WR);
}

/* --- the message -------------------------------------------------------- */

void grw_message_drop(grw_socket *w) {
  gr_free(w->bytes);
  w->bytes = NULL;
  w->direct = NULL;
  w->len = w->room = 0;
}

char *grw_room(grw_socket *w, size_t n) {
  if (w->room - w->len >= n) return w->bytes + w->len;
  size_t room = w->len + n + w->len / 2;
  char *bytes = gr_realloc(w->bytes, room);
  if (!bytes) {
    grw_fail(w, 1011, "out of memory");
    return NULL;
  }
  w->bytes = bytes;
  w->room = room;
  return bytes + w->len;
}

static bool too_big(grw_socket *w, uint64_t n) {
  return !w->pieces && n > w->max;
}

bool grw_append(grw_socket *w, const char *data, size_t n) {
  if (too_big(w, (uint64_t)w->len + n)) {
    grw_fail(w, 1009, "message too big");
    return false;
  }
  char *to = n ? grw_room(w, n) : w->bytes;
  if (n && !to) return false;
  if (n) memcpy(to, data, n);
  w->len += n;
  return true;
}

static bool check_text(grw_socket *w, const char *data, size_t n) {
  if (w->kind != WSLAY_TEXT_FRAME || grw_utf8_goes_on(&w->utf8, data, n))
    return true;
  grw_fail(w, 1007, "invalid UTF-8");
  return false;
}

/* --- control frames ----------------------------------------------------- */

/* May a peer send this code?  (RFC 6455, section 7.4; the registry's 1012 to
 * 1014 came later.) */
static bool is_code(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

static int closed(grw_socket *w, const uint8_t *data, size_t n) {
  const char *s = (const char *)data;
  int code = n ? data[0] << 8 | data[1] : 0;
  if (n == 1 || (n && !is_code(code)))
    return grw_fail(w, 1002, "bad close code"), GRW_OVER;
  if (n && !grw_is_utf8(s + 2, n - 2))
    return grw_fail(w, 1007, "invalid UTF-8"), GRW_OVER;
  w->got_close = true;
  grw_send_close(w, code, NULL, 0);
  if (n)
    grw_end(w, code, s + 2, n - 2);
  else
    grw_end(w, 1005, NULL, 0);
  return GRW_OVER;
}

static void answer(grw_socket *w, const uint8_t *data, size_t n) {
  w->pong_len = 0;
  if (!w->sent_close)
    (void)grw_send_frame(w, WSLAY_PONG, true, false, (const char *)data, n);
}

/* Of the pings of a peer that does not read only the last is answered. */
static void ping(grw_socket *w, const uint8_t *data, size_t n) {
  if (w->stream->out.len < w->high) {
    answer(w, data, n);
    return;
  }
  if (!w->pong_data) w->pong_data = gr_realloc(NULL, GRW_CONTROL);
  if (!w->pong_data) {
    grw_fail(w, 1011, "out of memory");
    return;
  }
  if (n) memcpy(w->pong_data, data, n);
  w->pong_len = (uint8_t)(n + 1);
}

/* It has come in several parts. */
static bool gather(grw_socket *w, const struct wslay_frame_iocb *f) {
  if (!have_control(w)) return grw_fail(w, 1011, "out of memory"), false;
  memcpy(w->control + w->at, f->data, f->data_length);
  w->at += f->data_length;
  return true;
}

static int control(grw_socket *w, const struct wslay_frame_iocb *f) {
  size_t n = (size_t)f->payload_length;
  const uint8_t *data = f->data;
  if (f->data_length < n) {
    if (f->data_length && !gather(w, f)) return GRW_OVER;
    if (w->at < n) return GRW_MORE;
    data = w->control;
  }
  w->at = 0;
  if (f->opcode == WSLAY_CONNECTION_CLOSE) return closed(w, data, n);
  if (f->opcode == WSLAY_PING) ping(w, data, n);
  return GRW_MORE;
}

/* --- frames ------------------------------------------------------------- */

/* What a frame must not be; NULL: it may. */
static const char *wrong(const grw_socket *w,
                         const struct wslay_frame_iocb *f) {
  bool control = wslay_is_ctrl_frame(f->opcode);
  bool starts =
      f->opcode == WSLAY_TEXT_FRAME || f->opcode == WSLAY_BINARY_FRAME;
  if (f->rsv && !(f->rsv == WSLAY_RSV1_BIT && starts && w->unsqueeze.bits))
    return "reserved bit set";
  if (control ? f->opcode > WSLAY_PONG : f->opcode > WSLAY_BINARY_FRAME)
    return "unknown opcode";
  if (!f->mask == !w->client)
    return w->client ? "masked frame" : "frame without a mask";
  if (!control && starts != !w->kind)
    return starts ? "message in the midst of another" : "nothing to continue";
  return NULL;
}

static bool begin_frame(grw_socket *w, const struct wslay_frame_iocb *f) {
  const char *why = wrong(w, f);
  if (why) return grw_fail(w, 1002, why), false;
  if (wslay_is_ctrl_frame(f->opcode)) return true;
  if (f->opcode) {
    w->kind = f->opcode;
    w->squeezed = f->rsv;
    w->utf8 = (grw_utf8){0, 0, 0};
  }
  if (!w->squeezed && too_big(w, f->payload_length + w->len))
    return grw_fail(w, 1009, "message too big"), false;
  return true;
}

static int end_message(grw_socket *w) {
  if (w->kind == WSLAY_TEXT_FRAME && w->utf8.left)
    return grw_fail(w, 1007, "invalid UTF-8"), GRW_OVER;
  w->last = true;
  return GRW_MESSAGE;
}

/* Part of a message.  `ends`: of its frame. */
static int data(grw_socket *w, const struct wslay_frame_iocb *f, bool ends) {
  const char *s = (const char *)f->data;
  size_t n = f->data_length;
  bool last = ends && f->fin;
  if (w->squeezed) {
    size_t before = w->len;
    if (!grw_inflate(w, s, n, last)) return GRW_OVER;
    if (w->len > before && !check_text(w, w->bytes + before, w->len - before))
      return GRW_OVER;
  } else {
    if (!check_text(w, s, n)) return GRW_OVER;
    if (last && !w->len && n == f->payload_length) {
      w->direct = s;
      w->len = n;
    } else if (!grw_append(w, s, n)) {
      return GRW_OVER;
    }
  }
  if (last) return end_message(w);
  return w->pieces && w->len >= GRW_PIECE ? GRW_MESSAGE : GRW_MORE;
}

static int frame(grw_socket *w, const struct wslay_frame_iocb *f) {
  if (!w->at && !begin_frame(w, f)) return GRW_OVER;
  bool ends = w->at + f->data_length == f->payload_length;
  if (!wslay_is_ctrl_frame(f->opcode)) {
    w->at = ends ? 0 : w->at + f->data_length;
    return data(w, f, ends);
  }
  return control(w, f);
}

int grw_next(grw_socket *w) {
  struct wslay_frame_iocb f;
  if (w->last) { /* memory was too short for it to be handed out */
    grw_message_drop(w);
    w->kind = 0;
    w->last = false;
  }
  if (w->pong_len && w->stream->out.len < w->high)
    answer(w, w->pong_data, w->pong_len - 1u);
  while (!w->over) {
    int got = grw_decode(w, &f);
    if (!got) return w->pieces && w->len ? GRW_MESSAGE : GRW_MORE;
    if (got < 0) {
      grw_fail(w, got == -ENOMEM ? 1011 : 1002,
               got == -ENOMEM ? "out of memory" : "bad frame");
      break;
    }
    got = frame(w, &f);
    if (got != GRW_MORE) return got;
  }
  return GRW_OVER;
}
