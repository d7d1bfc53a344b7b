/* What the files of greenlua.core.http share: the HTTP/1.1 server's records.
 *
 * A connection is served by one greenlet, in grh_serve: it reads a head, runs
 * the handler, sees the response and the request body to their ends, and starts
 * over.  A request keeps a copy of its head with the places of the fields in
 * it; nothing of it becomes a Lua value until it is asked for.  Requests and
 * responses are good for as long as their turn lasts (`c` is NULL after it):
 * whoever keeps one longer cannot get at the next one's bytes.
 */
#ifndef GRH_HTTP_H
#define GRH_HTTP_H

#include <llhttp.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "connection.h"
#include "state.h"
#include "stream.h"

enum { GRH_FIELDS = 256, GRH_DATE = 29 };

/* --- heads (head.c) ----------------------------------------------------- */

/* How a body ends. */
enum { GRH_NO_BODY, GRH_LENGTH, GRH_CHUNKED, GRH_TO_END };

/* What a request expects. */
enum { GRH_EXPECT_NOTHING, GRH_EXPECT_CONTINUE, GRH_EXPECT_OTHER };

typedef struct grh_span {
  uint32_t at, len;
} grh_span;

typedef struct grh_field {
  uint32_t name, value, value_len; /* places in the head */
  uint32_t name_len;
} grh_field;

typedef struct grh_head {
  uint8_t method, major, minor; /* method: of llhttp_method_t */
  uint8_t framing, expect;
  bool keep_alive;
  uint16_t status; /* of a response */
  uint64_t length; /* of a body of GRH_LENGTH */
  grh_span target; /* of a request */
  unsigned count;
} grh_head;

/* What parsing needs, and leaves. */
typedef struct grh_parser {
  llhttp_t llhttp;
  llhttp_settings_t settings;
  const char *base;
  const char *why; /* the last refusal */
  unsigned max;    /* fields */
  bool complete;
  grh_head head;
  grh_field fields[GRH_FIELDS];
} grh_parser;

void grh_parser_init(grh_parser *p);

/* The limits of a head. */
typedef struct grh_limits {
  uint32_t line, head, fields;
} grh_limits;

/* Look for the end of a head in the first `len` bytes of `data`, of which
 * `*scanned` have been seen to hold whole lines.  Its length; 0: more is
 * needed; negative: the status that refuses it, and `p->why`. */
long grh_find_head(grh_parser *p, const char *data, size_t len,
                   uint32_t *scanned, const grh_limits *limits);

/* Parse a head of that length, of HTTP_REQUEST or HTTP_RESPONSE, into p->head
 * and p->fields.  0, or the status that refuses it, and `p->why`. */
int grh_parse_head(grh_parser *p, llhttp_type_t type, const char *data,
                   size_t len);

/* May it be a field's name? */
bool grh_is_token(const char *s, size_t n);

/* May it be a field's value? */
bool grh_is_value(const char *s, size_t n);

/* Are two names the same, but for case? */
bool grh_same(const char *a, size_t na, const char *b, size_t nb);

/* --- what there is one of in a Lua state --------------------------------- */

typedef struct grh_http {
  gr_state *S;
  grh_parser parser;
  time_t date_at;
  char date[GRH_DATE + 1];
} grh_http;

/* The current time as a Date field has it; GRH_DATE bytes. */
const char *grh_date(grh_http *h);

/* The same for any time. */
void grh_format_date(time_t at, char to[GRH_DATE + 1]);

/* --- servers ------------------------------------------------------------ */

/* User values of a server. */
enum { GRH_V_HANDLER = 1, GRH_V_RESPOND, GRH_V_FAIL, GRH_V_LOG, GRH_V_SERVER };

typedef struct grh_server {
  const void *magic;
  grh_http *http;
  double idle, header, body, write, linger; /* seconds; INFINITY */
  double grace, body_time;                  /* … of waiting for a body */
  double body_rate;               /* bytes a second, after the grace; 0 */
  double write_rate, write_grace; /* … that a reader takes, and its grace */
  grh_limits limits;
  uint64_t body_max, drain_max;
  bool stopping, gzip, logs;
  uint32_t gzip_min; /* bytes */
  uint64_t requests; /* so far */
  unsigned count;
  gr_list conns;
  gr_list waiters; /* for the last connection to end */
} grh_server;

/* --- connections -------------------------------------------------------- */

typedef struct grh_request grh_request;
typedef struct grh_response grh_response;

/* User values of a connection. */
enum {
  GRH_V_SOCKET = 1,
  GRH_V_CONFIG,
  GRH_V_REQUEST,
  GRH_V_RESPONSE,
  GRH_V_TRACE,   /* of the last error */
  GRH_V_CONTEXT, /* what a turn starts with */
  GRH_V_ADDRESS, /* of the client, if the server has it */
  GRH_V_GUEST,   /* object to be told of the handler's end: see res:_guest */
  GRH_V_CONN_END = GRH_V_GUEST
};

/* grh_body.state */
enum { GRH_B_DONE, GRH_B_DATA, GRH_B_SIZE, GRH_B_DATA_END, GRH_B_TRAILER };

typedef struct grh_conn grh_conn;

/* The body of the current request, or response. */
typedef struct grh_body {
  uint8_t state;
  bool chunked;
  bool expected;   /* 100 Continue, and has not been sent */
  bool drained;    /* nobody reads it any more */
  uint16_t lines;  /* of the trailer */
  uint16_t failed; /* the status that tells why it cannot be read further */
  uint64_t left;   /* of the chunk, or of all */
  uint64_t seen;   /* bytes of the body */
  double waited;   /* seconds, for all of it until now */
  double since;    /* when the present wait began; 0: there is none */
  uint64_t max;
  /* Told of each line of the trailer; NULL: nobody is.  false: no memory. */
  bool (*on_trailer)(grh_conn *c, const char *line, size_t n);
} grh_body;

/* What of an output has not been taken by the kernel yet: prefix, body (a
 * string that the one who waits keeps), suffix. */
typedef struct grh_rest {
  char *bytes; /* prefix, then suffix; own memory */
  size_t prefix, body, suffix;
  size_t done;
} grh_rest;

/* How the reader of a response keeps up (pace.c). */
typedef struct grh_pace {
  double credit;  /* seconds for which it may still be too slow */
  double since;   /* when the present wait began; 0: there is none */
  int64_t queued; /* bytes then on their way; -1: nobody knows */
} grh_pace;

struct grh_conn {
  const void *magic;
  gr_stream *stream; /* the socket's */
  grh_server *server;
  grh_http *http;
  grh_request *req; /* of this turn; NULL: none */
  grh_response *res;
  gr_node node; /* in server->conns */
  uint32_t scanned;
  bool idle;    /* waits for a request, of which nothing has come */
  bool ends;    /* with this turn */
  bool cut;     /* at once: the other side must not take it for a good end */
  bool taken;   /* another protocol is spoken: not ours any more */
  bool guest;   /* somebody wants to know of the handler's end */
  bool failed;  /* the handler has raised an error */
  bool gone;    /* writing has failed */
  bool logged;  /* the log has been told of this turn */
  bool lingers; /* for the other side to read what we sent last */
  double since; /* when the head was complete, for the log */
  double limit; /* when the head must be, or a body is waited for no more */
  grh_body body;
  grh_pace pace;
  grh_rest rest;
  char *spill;   /* of the response's fields that are too many for it */
  char *trailer; /* of the request: lines, each with its CRLF */
  size_t trailer_len;
  struct grh_gzip *gzip;
};

/* --- objects (object.c) ------------------------------------------------- */

/* Requests and responses have C properties and methods (`members`: an integer
 * is a property), fields of the program's own in a table made on first use (the
 * user value 1), and `lazy` ones: name -> function(object), whose result
 * becomes such a field. */

/* Make the metatable of a class, in the registry at `key`, and leave its
 * members and its lazy ones in the module's table on top of the stack. */
void grh_open_class(lua_State *L, gr_state *S, const void *key,
                    const char *name, const luaL_Reg *const *methods,
                    const char *const *properties, lua_CFunction index,
                    lua_CFunction newindex);

/* __index for what is at 1, the key at 2: the number of the property, or 0 and
 * the value is pushed. */
int grh_index(lua_State *L);

/* __newindex likewise, for what is no property; a method cannot be set. */
int grh_newindex(lua_State *L);

/* --- requests (request.c) ----------------------------------------------- */

struct grh_request {
  const void *magic;
  grh_conn *c;
  grh_head head;
  grh_span path, query; /* path: not decoded */
  uint32_t size;        /* of the head's bytes, which follow the fields */
  grh_field fields[];
};

static inline const char *grh_bytes(const grh_request *r) {
  return (const char *)&r->fields[r->head.count];
}

/* Push the request whose head the parser holds.  Its user value 2 is the
 * connection, set by the caller. */
grh_request *grh_new_request(lua_State *L, grh_conn *c, const char *data,
                             size_t len);

/* Push a record of the message whose head the parser holds, with the metatable
 * that `key` has in the registry, which becomes its magic, too. */
grh_request *grh_new_message(lua_State *L, const grh_parser *p,
                             const char *data, size_t len, const void *key);

/* Argument `arg` as a request; raises if it is none. */
grh_request *grh_check_request(lua_State *L, int arg);

/* The first field of that name; NULL: none. */
const grh_field *grh_find_field(const grh_request *r, const char *name,
                                size_t len);

/* Is the request's method HEAD? */
static inline bool grh_is_head(const grh_request *r) {
  return r->head.method == HTTP_HEAD;
}

void grh_open_request(lua_State *L, grh_http *h); /* its metatable */

/* header(message, name), field(message, i): of requests, and of the heads that
 * a client reads. */
extern const luaL_Reg grh_message_methods[];

/* --- bodies (body.c) ---------------------------------------------------- */

/* Prepare for the body of a request. */
void grh_body_start(grh_conn *c, const grh_head *head, uint64_t max);

/* Find the next bytes of the body in the input: 1 and where they are; 0: more
 * input is needed; -1: there are no more; -2: it is broken, see `failed`. */
int grh_body_next(grh_conn *c, const char **data, size_t *n);

/* Take `n` of these. */
void grh_body_take(grh_conn *c, size_t n);

extern const luaL_Reg grh_body_methods[];

/* Is a trailer's next line, of `n` bytes, more than is taken of one? */
bool grh_trailer_is_full(const grh_conn *c, size_t n);

/* grh_body.on_trailer of a server: the request's trailer. */
bool grh_keep_trailer(grh_conn *c, const char *line, size_t n);

void grh_drop_trailer(grh_conn *c);

extern const luaL_Reg grh_trailer_methods[]; /* trailer.c */

/* --- output (output.c) -------------------------------------------------- */

/* Write prefix, body and suffix as one.  0: done; -EAGAIN: the rest is in
 * c->rest, see grh_flush; -errno. */
int grh_put(grh_conn *c, const char *prefix, size_t np, const char *body,
            size_t nb, const char *suffix, size_t ns);

/* (connection's userdata, body string) -> true | nil, message: write the rest.
 * May block. */
int grh_flush(lua_State *L);

/* The same from a method that has the object at 1 and the body at 2; parks. */
int grh_finish_put(lua_State *L, gr_state *S, grh_conn *c, int got);

/* nil, message for an errno. */
int grh_fail(lua_State *L, int err);

void grh_rest_drop(grh_conn *c);

/* --- waiting for readers (pace.c) --------------------------------------- */

/* A response begins: its reader has all its credit. */
void grh_pace_start(grh_conn *c);

/* A wait for room begins: when it has to be over. */
double grh_pace_begin(grh_conn *c);

/* It is over, or was none.  `late`: its time has run out.  Is the reader to be
 * given up if there is still no room? */
bool grh_pace_end(grh_conn *c, bool late);

/* --- responses (response.c, send.c) -------------------------------------- */

enum { GRH_FRESH, GRH_STREAMING, GRH_SENT }; /* of a response */

enum { GRH_INLINE = 208 };

struct grh_response {
  const void *magic;
  grh_conn *c;
  uint16_t status;
  uint8_t state;
  bool typed : 1;     /* there is a Content-Type */
  bool dated : 1;     /* … a Date */
  bool encoded : 1;   /* … a Content-Encoding */
  bool tagged : 1;    /* … an ETag */
  bool varies : 1;    /* … a Vary */
  bool vary_told : 1; /* … and it has Accept-Encoding */
  bool sized : 1;     /* … a Content-Length: `length` */
  bool upgrades : 1;
  bool chunked : 1;
  bool bodiless : 1;     /* nothing of the body is sent */
  bool plain : 1;        /* never compressed */
  uint64_t length, sent; /* of the body */
  const char *reason;    /* the program's, kept by its fields; NULL: ours */
  uint32_t used, room;   /* of lines */
  char *lines;           /* "Name: value\r\n" … */
  char inline_[GRH_INLINE];
};

/* Push a new one.  Its user value 2 is the connection, set by the caller. */
grh_response *grh_new_response(lua_State *L, grh_conn *c);

grh_response *grh_check_response(lua_State *L, int arg);

/* As that, and its turn lasts; raises if not. */
grh_response *grh_check_live(lua_State *L, int arg);

/* The one at 1, to send with: nobody else does, and nothing hangs half-written.
 * Raises. */
grh_response *grh_check_sending(lua_State *L);

/* Will nothing of the body be sent, whatever it is? */
void grh_settle_body(grh_response *r);

/* Add a field without any check; false: out of memory. */
bool grh_add_line(grh_response *r, const char *name, size_t nn,
                  const char *value, size_t nv);

/* Take the fields of that name out; were there any? */
bool grh_remove_line(grh_response *r, const char *name, size_t nn);

/* Where the value of the first such field is; NULL: nowhere. */
const char *grh_find_line(const grh_response *r, const char *name, size_t nn,
                          size_t *nv);

/* Put the head of `r` at `to`, in which there is room for grh_head_room bytes.
 * Its length. */
size_t grh_head_room(const grh_response *r);
size_t grh_write_head(grh_response *r, char *to);

/* Send a whole response.  As grh_put; index `arg` keeps the body. */
int grh_send_body(lua_State *L, grh_response *r, int arg);

/* End a response that has begun, or send an empty one.  As grh_put. */
int grh_end_body(grh_response *r, const char *trailers, size_t n);

/* (response [, trailers]) -> true | nil, message.  May block. */
int grh_finish(lua_State *L);

/* The standard's words for a status; "Unknown" if there are none. */
const char *grh_reason(int status);

void grh_open_response(lua_State *L, grh_http *h);

extern const luaL_Reg grh_field_methods[]; /* fields.c */
extern const luaL_Reg grh_send_methods[];  /* send.c */
extern const luaL_Reg grh_file_methods[];  /* file.c */
extern const luaL_Reg grh_watch_methods[]; /* watch.c */

void grh_open_file(lua_State *L, grh_http *h);

/* --- compression (gzip.c) ----------------------------------------------- */

/* Is this response to be compressed, whose body has `size` bytes (0: nobody
 * knows)?  Then its fields say so from now on. */
bool grh_gzips(grh_response *r, size_t size);

extern const luaL_Reg grh_gzip_methods[];

/* Push what becomes of the next bytes of a body; `last`: of the last ones.
 * Raises for want of memory. */
void grh_gzip(lua_State *L, grh_conn *c, const char *data, size_t n, bool last);

void grh_gzip_drop(grh_conn *c);

/* --- turns (turn.c) ----------------------------------------------------- */

/* What lies on the stack: for the whole connection, then for a turn. */
enum {
  GRH_I_SOCKET = 1,
  GRH_I_SERVER,
  GRH_I_ADDRESS,
  GRH_I_CONN,
  GRH_I_TRACE,
  GRH_I_REQUEST,
  GRH_I_RESPONSE,
  GRH_I_REST
};

/* What to do next, and what a continuation goes on with. */
enum {
  GRH_S_HEAD,      /* see whether a head is there */
  GRH_S_AWAIT,     /* … it is not */
  GRH_S_HANDLE,    /* run the handler */
  GRH_S_HANDLED,   /* it has returned, or failed */
  GRH_S_LEFT,      /* … and who wants to know of it does */
  GRH_S_RESPONDED, /* what it returned has been sent */
  GRH_S_FAIL,      /* tell of the error on top */
  GRH_S_FAILED,
  GRH_S_FLUSH,  /* send the rest, of the body at GRH_I_REST */
  GRH_S_FINISH, /* end the response */
  GRH_S_LOG,
  GRH_S_LOGGED,
  GRH_S_DRAIN, /* take what is left of the request's body */
  GRH_S_AWAIT_DRAIN,
  GRH_S_OVER,   /* the turn is over */
  GRH_S_REFUSE, /* the request cannot be understood */
  GRH_S_REFUSED,
  GRH_S_TOLD,   /* of an error of the log */
  GRH_S_LINGER, /* let the other side read what we sent last */
  GRH_S_AWAIT_LINGER,
  GRH_S_CLOSE
};

/* Forget request and response: who kept them gets at nothing any more. */
void grh_end_turn(grh_conn *c);

/* These return what to do next.  Look for a head, and begin a turn with it. */
int grh_read_head(lua_State *L, grh_conn *c);

/* It has not come in time. */
int grh_head_timed_out(grh_conn *c);

/* Take what can be had of the body without waiting. */
int grh_drain(grh_conn *c);

/* Read what the other side still sends, and forget it. */
int grh_linger(grh_conn *c);

/* --- serving (serve.c) -------------------------------------------------- */

/* serve(socket, server [, address]): until the connection ends.  May block. */
int grh_serve(lua_State *L);

grh_server *grh_check_server(lua_State *L, int arg);

void grh_open_serve(lua_State *L, grh_http *h);

/* --- clients (client.c, inflate.c) ---------------------------------------- */

/* reader(socket, limits): what a client reads its responses with. */
void grh_open_client(lua_State *L, grh_http *h);

/* inflater(coding): undoes "gzip" and "deflate". */
void grh_open_inflate(lua_State *L, grh_http *h);

extern const char grh_request_key, grh_response_key, grh_conn_key,
    grh_server_key, grh_answer_key;

#endif
