/* What the files of greenlua.core.websocket share: a WebSocket (RFC 6455) over
 * the stream of a connected socket, from the end of the handshake on.
 *
 * wslay encodes and decodes frames; what they mean is decided here: messages
 * from fragments, UTF-8, control frames, the closing handshake, compression
 * (RFC 7692).
 *
 * A decoder of wslay's has 4 KiB of its own, so a connection has one only while
 * part of a frame is there; idle ones share one.  What is sent is queued whole
 * with the stream, in one call, so messages are never mixed; who sends more
 * than `high` bytes ahead of the peer is told to wait.
 */
#ifndef GRW_WEBSOCKET_H
#define GRW_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <wslay/wslay.h>

#include "connection.h"
#include "state.h"
#include "stream.h"

enum { GRW_CONTROL = 125, GRW_PIECE = 64 << 10 };

typedef struct grw_socket grw_socket;

/* --- compression (deflate.c) -------------------------------------------- */

typedef struct grw_deflater grw_deflater;
typedef struct grw_inflater grw_inflater;

/* What has been agreed on, for one direction.  bits 0: nothing is compressed */
typedef struct grw_agreed {
  uint8_t bits;
  bool fresh; /* each message begins anew */
} grw_agreed;

/* --- UTF-8 (text.c) ----------------------------------------------------- */

/* Where a check stands between two pieces of text; zero: at the start. */
typedef struct grw_utf8 {
  uint8_t left, low, high; /* bytes to come; the range of the next */
} grw_utf8;

/* Is the text valid so far? */
bool grw_utf8_goes_on(grw_utf8 *u, const char *s, size_t n);

/* Is it, and complete? */
bool grw_is_utf8(const char *s, size_t n);

/* What a server answers to a client's key: 28 characters and a zero. */
void grw_accept_key(const char *key, size_t n, char to[29]);

/* Base64 of `n` bytes at `to`, with a zero: (n + 2) / 3 * 4 + 1. */
void grw_base64(const void *data, size_t n, char *to);

/* --- what there is one of in a Lua state --------------------------------- */

typedef struct grw_shared {
  gr_state *S;
  /* Encoders of servers and of clients: having masked once, wslay goes on to.
   */
  wslay_frame_context_ptr out[2];
  wslay_frame_context_ptr spare; /* a decoder that is free */
  grw_socket *decodes;           /* whose input is decoded right now */
  char *bytes;                   /* what is encoded right now */
  size_t len, room;
  const uint8_t *payload; /* behind these, where the caller has it */
  size_t payload_len;
  bool copies, failed;    /* payload is put into bytes; out of memory */
  uint8_t random[256];    /* for masks */
  unsigned used;          /* of these */
  grw_deflater *deflater; /* one that is free */
} grw_shared;

/* --- objects ------------------------------------------------------------ */

/* User values. */
enum { GRW_V_SOCKET = 1, GRW_V_FIELDS };

struct grw_socket {
  const void *magic;
  grw_shared *shared;
  gr_stream *stream;
  /* decoding (frame.c) */
  wslay_frame_context_ptr in; /* NULL: at a frame's start, and no input */
  uint64_t fed, used;         /* bytes that it got, and that were in frames */
  uint64_t at;                /* bytes of the frame that have been seen */
  /* the message that comes in */
  uint8_t kind;  /* its opcode; 0: none */
  bool squeezed; /* it is compressed */
  char *bytes;   /* own memory */
  size_t len, room;
  const char *direct; /* instead, of a whole message, where it lies */
  bool last;          /* of pieces: nothing follows */
  grw_utf8 utf8;
  uint8_t *control; /* own memory, GRW_CONTROL bytes; NULL: not needed so far:
                       part of a control frame; at the end the reason */
  /* settings */
  bool client;
  bool drops;         /* the connection, rather than have a sender wait */
  uint64_t max;       /* bytes of a message */
  size_t high;        /* bytes in the queue before senders wait */
  double ping, pong;  /* seconds of silence until a ping; until its answer */
  double close_limit; /* seconds for the closing handshake */
  double send_limit;  /* and for the peer to take what is queued */
  /* state */
  bool sent_close, got_close, over; /* over: nothing comes any more */
  bool pinged, held;                /* held: a sender is not at its end */
  bool pieces;                      /* the reader wants pieces */
  bool polls;                       /* and does not wait */
  bool told;                        /* the reader knows that it has failed */
  uint8_t pong_len;                 /* of one that waits for room, plus 1 */
  uint8_t reason_len;
  uint16_t code;
  uint8_t *pong_data; /* own memory, GRW_CONTROL bytes; NULL: none has waited */
  double until;       /* of the reader */
  double heard;       /* when something came last */
  double close_by;    /* 0: not closing */
  uint64_t discarded;
  gr_list enders; /* waiters for its end */
  grw_agreed squeeze, unsqueeze;
  int level;
  size_t squeeze_min;
  grw_deflater *deflater;
  grw_inflater *inflater;
};

/* Argument `arg` as a WebSocket; raises if it is none. */
grw_socket *grw_check(lua_State *L, int arg);

/* It is over with this code, unless it is already. */
void grw_end(grw_socket *w, int code, const char *reason, size_t n);

/* Close it over something that the other side has done: tell it, and be over.
 */
void grw_fail(grw_socket *w, int code, const char *reason);

/* --- frames (frame.c) --------------------------------------------------- */

/* Load wslay, have encoder and memory.  NULL, or what is missing. */
const char *grw_frames_open(grw_shared *g);
void grw_frames_close(grw_shared *g);

/* The next part of a frame of the input.  1; 0: more input is needed; -1: it is
 * none; -ENOMEM. */
int grw_decode(grw_socket *w, struct wslay_frame_iocb *f);

/* Give the decoder back. */
void grw_decoder_drop(grw_socket *w);

/* Queue a frame.  0 or -errno, as gr_stream_queue. */
int grw_send_frame(grw_socket *w, uint8_t opcode, bool fin, bool squeezed,
                   const char *data, size_t n);

/* Fill with random bytes. */
void grw_random(grw_shared *g, uint8_t *to, size_t n);

/* Queue a close frame; `code` 0: without one. */
void grw_send_close(grw_socket *w, int code, const char *reason, size_t n);

/* --- messages (message.c) ----------------------------------------------- */

enum { GRW_MORE, GRW_MESSAGE, GRW_OVER };

/* Go on with the input: GRW_MESSAGE: a message, or with w->pieces a piece of
 * one; in `direct` or `bytes`, for `len` bytes; grw_message_drop afterwards. */
int grw_next(grw_socket *w);
void grw_message_drop(grw_socket *w);

/* Add to the message.  false: it has been failed. */
bool grw_append(grw_socket *w, const char *data, size_t n);

/* Where the next bytes of the message go; NULL: it has been failed. */
char *grw_room(grw_socket *w, size_t n);

/* --- compression -------------------------------------------------------- */

/* Inflate a piece of the message; `last`: and its end.  false: failed. */
bool grw_inflate(grw_socket *w, const char *data, size_t n, bool last);

/* Deflate a message: where it is, until the next call; NULL: out of memory. */
const char *grw_deflate(grw_socket *w, const char *data, size_t n,
                        size_t *size);
void grw_deflate_drop(grw_socket *w);
void grw_deflater_free(grw_deflater *d);

extern const luaL_Reg grw_receive_methods[]; /* receive.c */
extern const luaL_Reg grw_send_methods[];    /* send.c */

#endif
