/* Frames, by wslay.
 *
 * Debian has wslay as a shared library only, and a library more costs every
 * start of every program: so it is loaded when somebody opens this module. */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "alloc.h"
#include "websocket.h"

static struct {
  __typeof__(&wslay_frame_context_init) init;
  __typeof__(&wslay_frame_context_free) free;
  __typeof__(&wslay_frame_send) send;
  __typeof__(&wslay_frame_recv) recv;
} wslay;

static const char *load(void) {
  if (wslay.recv) return NULL;
  void *lib = dlopen("libwslay.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!lib) return dlerror();
  *(void **)&wslay.init = dlsym(lib, "wslay_frame_context_init");
  *(void **)&wslay.free = dlsym(lib, "wslay_frame_context_free");
  *(void **)&wslay.send = dlsym(lib, "wslay_frame_send");
  *(void **)&wslay.recv = dlsym(lib, "wslay_frame_recv");
  if (wslay.init && wslay.free && wslay.send && wslay.recv) return NULL;
  wslay.recv = NULL;
  return "libwslay.so.1 lacks functions";
}

/* --- decoding ----------------------------------------------------------- */

static ssize_t on_receive(uint8_t *to, size_t size, int flags, void *shared) {
  grw_socket *w = ((grw_shared *)shared)->decodes;
  gr_buffer *in = &w->stream->in;
  size_t n = in->len < size ? in->len : size;
  (void)flags;
  if (!n) return -1;
  memcpy(to, in->data, n);
  gr_stream_skip(w->stream, n);
  w->fed += n;
  return (ssize_t)n;
}

/* At a frame's end, with nothing of the next: nothing is in the decoder. */
static void release(grw_socket *w) {
  if (!w->in || w->at || w->fed != w->used) return;
  grw_shared *g = w->shared;
  if (g->spare)
    wslay.free(w->in);
  else
    g->spare = w->in;
  w->in = NULL;
  w->fed = w->used = 0;
}

static ssize_t on_send(const uint8_t *data, size_t n, int flags, void *shared);
static int on_mask(uint8_t *to, size_t n, void *shared);

static const struct wslay_frame_callbacks callbacks = {on_send, on_receive,
                                                       on_mask};

static int have_decoder(grw_socket *w) {
  grw_shared *g = w->shared;
  if (w->in) return 0;
  w->in = g->spare;
  g->spare = NULL;
  if (w->in) return 0;
  if (wslay.init(&w->in, &callbacks, g)) w->in = NULL;
  return w->in ? 0 : -ENOMEM;
}

static unsigned header_size(const struct wslay_frame_iocb *f) {
  uint64_t n = f->payload_length;
  return 2 + (n > 0xFFFF ? 8 : n > 125 ? 2 : 0) + (f->mask ? 4 : 0);
}

int grw_decode(grw_socket *w, struct wslay_frame_iocb *f) {
  if (!w->in && !w->stream->in.len) return 0;
  if (have_decoder(w)) return -ENOMEM;
  w->shared->decodes = w;
  ssize_t n = wslay.recv(w->in, f);
  w->shared->decodes = NULL;
  if (n == WSLAY_ERR_WANT_READ) {
    release(w);
    return 0;
  }
  if (n < 0) return -1;
  if (!w->at) w->used += header_size(f);
  w->used += f->data_length;
  return 1;
}

void grw_decoder_drop(grw_socket *w) {
  if (w->in) wslay.free(w->in);
  w->in = NULL;
}

/* --- encoding ----------------------------------------------------------- */

static bool have_room(grw_shared *g, size_t n) {
  if (g->room - g->len >= n) return true;
  size_t room = g->len + n < 512 ? 512 : (g->len + n) * 3 / 2;
  char *bytes = gr_realloc(g->bytes, room);
  if (!bytes) return false;
  g->bytes = bytes;
  g->room = room;
  return true;
}

/* A header, then the payload: all of it, or if it is masked in pieces that lie
 * in the encoder. */
static ssize_t on_send(const uint8_t *data, size_t n, int flags, void *shared) {
  grw_shared *g = shared;
  (void)flags;
  if (g->len && !g->copies) {
    g->payload = data;
    g->payload_len = n;
    return (ssize_t)n;
  }
  if (!have_room(g, n)) {
    g->failed = true;
    return -1;
  }
  memcpy(g->bytes + g->len, data, n);
  g->len += n;
  return (ssize_t)n;
}

void grw_random(grw_shared *g, uint8_t *to, size_t n) {
  while (n--) {
    if (g->used == sizeof g->random) {
      size_t have = 0;
      while (have < sizeof g->random) {
        ssize_t got = getrandom(g->random + have, sizeof g->random - have, 0);
        if (got > 0) have += (size_t)got;
      }
      g->used = 0;
    }
    *to++ = g->random[g->used++];
  }
}

static int on_mask(uint8_t *to, size_t n, void *shared) {
  grw_random(shared, to, n);
  return 0;
}

static int queue(grw_socket *w) {
  grw_shared *g = w->shared;
  struct iovec pieces[2] = {{g->bytes, g->len},
                            {(void *)g->payload, g->payload_len}};
  if (gr_stream_fd(w->stream) < 0) return -ECONNRESET;
  return gr_stream_queue(w->stream, pieces, g->payload_len ? 2 : 1);
}

int grw_send_frame(grw_socket *w, uint8_t opcode, bool fin, bool squeezed,
                   const char *data, size_t n) {
  grw_shared *g = w->shared;
  struct wslay_frame_iocb f = {.fin = fin,
                               .rsv = squeezed ? WSLAY_RSV1_BIT : 0,
                               .opcode = opcode,
                               .payload_length = n,
                               .mask = w->client,
                               .data = (const uint8_t *)data,
                               .data_length = n};
  g->len = g->payload_len = 0;
  g->copies = w->client;
  g->failed = !have_room(g, 16 + (w->client ? n : 0));
  if (!g->failed && wslay.send(g->out[w->client], &f) < 0) g->failed = true;
  int err = g->failed ? -ENOMEM : queue(w);
  if (g->room > GRW_PIECE) {
    gr_free(g->bytes);
    g->bytes = NULL;
    g->room = 0;
  }
  return err;
}

void grw_send_close(grw_socket *w, int code, const char *reason, size_t n) {
  char payload[GRW_CONTROL];
  if (w->sent_close) return;
  w->sent_close = true;
  w->close_by = gr_hub_now(gr_stream_hub(w->stream)) + w->close_limit;
  payload[0] = (char)(code >> 8);
  payload[1] = (char)code;
  if (n > GRW_CONTROL - 2) n = GRW_CONTROL - 2;
  if (n) memcpy(payload + 2, reason, n);
  (void)grw_send_frame(w, WSLAY_CONNECTION_CLOSE, true, false, payload,
                       code ? n + 2 : 0);
}

/* --- the module's ------------------------------------------------------- */

const char *grw_frames_open(grw_shared *g) {
  const char *missing = load();
  if (missing) return missing;
  g->used = sizeof g->random;
  for (int i = 0; i < 2; i++)
    if (wslay.init(&g->out[i], &callbacks, g)) return "not enough memory";
  return NULL;
}

void grw_frames_close(grw_shared *g) {
  for (int i = 0; i < 2; i++) {
    if (g->out[i]) wslay.free(g->out[i]);
    g->out[i] = NULL;
  }
  if (g->spare) wslay.free(g->spare);
  if (g->bytes) gr_free(g->bytes);
  if (g->deflater) grw_deflater_free(g->deflater);
  g->spare = NULL;
  g->bytes = NULL;
  g->room = 0;
  g->deflater = NULL;
}
