/* What the files of greenlua.core.socket share: the record behind a socket
 * object, its timeouts, and how its methods wait and fail. */
#ifndef GRB_SOCKET_H
#define GRB_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "connection.h"
#include "state.h"
#include "stream.h"

/* As LuaSocket's: an object's class changes in place.  Streams stay streams,
 * and datagrams datagrams. */
enum {
  GRB_MASTER,
  GRB_CLIENT,
  GRB_SERVER,
  GRB_UNCONNECTED, /* from here on: datagrams */
  GRB_CONNECTED,
  GRB_CLASSES
};

/* For checks: any class of these. */
enum { GRB_ANY = -1, GRB_STREAM = -2, GRB_DATAGRAM = -3 };

enum { GRB_READ, GRB_WRITE }; /* sides */

typedef struct grb_socket {
  const void *magic; /* these two: a gr_connection */
  gr_stream stream;
  int family; /* AF_UNSPEC as long as it is open */
  uint8_t class;
  bool resolving;      /* a name, for its next descriptor */
  bool delays;         /* somebody turned TCP_NODELAY off */
  uint8_t passes;      /* 1: what it accepts has TCP_NODELAY; 2: it hasn't */
  double block, total; /* of settimeout; negative: none */
  double until[2];     /* the end of the running operation of each side */
  double delay;        /* seconds until accept looks for a descriptor again */
  double birth;        /* for getstats */
} grb_socket;

#define grb_socket_magic gr_connection_magic
_Static_assert(offsetof(grb_socket, stream) == offsetof(gr_connection, stream),
               "a socket begins with a gr_connection");

/* --- objects ------------------------------------------------------------ */

/* Argument `arg` as a socket; NULL if it is none. */
static inline grb_socket *grb_to_socket(lua_State *L, int arg) {
  grb_socket *s = lua_touserdata(L, arg);
  if (!s || lua_rawlen(L, arg) != sizeof *s || s->magic != &grb_socket_magic)
    return NULL;
  return s;
}

static inline bool grb_is_datagram(const grb_socket *s) {
  return s->class >= GRB_UNCONNECTED;
}

static inline bool grb_has_class(const grb_socket *s, int class) {
  if (class >= 0) return s->class == class;
  return class == GRB_ANY || grb_is_datagram(s) == (class == GRB_DATAGRAM);
}

/* In a method: raises that argument 1 is no socket of that class. */
void grb_wrong_class(lua_State *L, int class);

/* Argument 1, of one class, or of any of some; raises if it is not. */
static inline grb_socket *grb_check(lua_State *L, int class) {
  grb_socket *s = grb_to_socket(L, 1);
  if (!s || !grb_has_class(s, class)) grb_wrong_class(L, class);
  return s;
}

/* What tostring calls it. */
const char *grb_class_name(const grb_socket *s);

/* Push a new socket without a descriptor. */
grb_socket *grb_new_socket(lua_State *L, gr_state *S, int class, int family);

/* Make the socket at `arg` one of another class. */
void grb_set_class(lua_State *L, int arg, int class);

/* A new socket, with a descriptor if the family is known: what a constructor
 * returns. */
int grb_make(lua_State *L, int class, int family);

/* Give a socket a new descriptor for its family.  0 or errno. */
int grb_open_fd(grb_socket *s, int family);

/* What every connected socket gets, and its descriptor. */
void grb_adopt(grb_socket *s, int fd);

static inline int grb_fd(const grb_socket *s) {
  return gr_stream_fd(&s->stream);
}

/* --- failing ------------------------------------------------------------ */

/* The message for an errno; 0 means the end of the stream. */
const char *grb_message(int err);

/* The message for an errno of a stream's, which its filter may put in its own
 * words. */
const char *grb_stream_message(const gr_stream *st, int side, int err);

/* Push nil and the message; 2. */
int grb_fail(lua_State *L, int err);

/* --- waiting ------------------------------------------------------------ */

/* A second greenlet on one side is misuse: raises, naming both. */
void grb_check_free(lua_State *L, gr_state *S, grb_socket *s, int side,
                    const gr_wait *what);

/* An operation begins: its clock starts. */
void grb_begin(grb_socket *s, int side);

/* Never wait? */
static inline bool grb_polls(const grb_socket *s) {
  return s->block == 0 || s->total == 0;
}

/* When the next wait of the running operation ends. */
double grb_deadline(const grb_socket *s, int side);

/* Park until that side is ready; as gr_park. */
int grb_wait(lua_State *L, gr_state *S, grb_socket *s, int side,
             const gr_wait *what, lua_KContext ctx, lua_KFunction k);

/* Has this greenlet made so many calls without waiting that it gives way now,
 * and can it?  A fruitless call counts for more. */
bool grb_gives_way(lua_State *L, gr_state *S, bool fruitless);

/* Let everybody else run, and the loop be polled; as gr_park. */
int grb_give_way(lua_State *L, gr_state *S, lua_KContext ctx, lua_KFunction k);

/* --- addresses ---------------------------------------------------------- */

typedef struct grb_addresses {
  int count;
  struct grb_address {
    socklen_t len;
    struct sockaddr_storage addr;
  } at[];
} grb_addresses;

/* What goes on with the addresses of a host, which are at index 4; NULL: there
 * are none, and a message is on top of the stack. */
typedef int grb_found(lua_State *L, gr_state *S, grb_socket *s,
                      grb_addresses *list);

/* Find the addresses of the host at index 2 and the port at index 3, for the
 * socket at index 1 (of its family, if it has one), and call `next`.  A number
 * is known at once; for a name the greenlet parks, for as long as the running
 * operation of the side GRB_WRITE may take, unless the socket never waits.
 * passive: to bind, "*" is any address.  Call as `return grb_resolve(...)`. */
int grb_resolve(lua_State *L, gr_state *S, grb_socket *s, bool passive,
                grb_found *next);

/* The socket is being closed: whoever resolves for it is told so. */
void grb_stop_resolving(grb_socket *s);

/* The path of a UNIX socket; false if it is too long. */
bool grb_unix_address(const char *path, size_t len, struct grb_address *a);

/* Push an address: a path; or a host and a port.  How many values. */
int grb_push_address(lua_State *L, const struct grb_address *a);

/* bind(2) to what the arguments from 2 on mean: the results of a method. */
int grb_bind(lua_State *L, grb_socket *s);

/* Have a descriptor of that family, if need be in place of another one.  0 or
 * errno. */
int grb_have_fd(grb_socket *s, int family);

/* --- methods, by file --------------------------------------------------- */

extern const luaL_Reg grb_methods[];         /* socket.c: of all */
extern const luaL_Reg grb_stats_methods[];   /* socket.c */
extern const luaL_Reg grb_address_methods[]; /* address.c */
extern const luaL_Reg grb_connect_methods[]; /* connect.c */
extern const luaL_Reg grb_option_methods[];  /* options.c */
extern const luaL_Reg grb_receive_methods[]; /* receive.c */
extern const luaL_Reg grb_send_methods[];    /* send.c */
extern const luaL_Reg grb_sendfile_methods[];
extern const luaL_Reg grb_datagram_methods[]; /* datagram.c */
extern const luaL_Reg grb_unixdgram_methods[];
extern const luaL_Reg grb_connect_funcs[];
extern const luaL_Reg grb_datagram_funcs[];
extern const luaL_Reg grb_filter_funcs[]; /* filter.c */
extern const luaL_Reg grb_ready_funcs[];  /* ready.c */

/* Set module.classes, with the module on top of the stack: a class's name ->
 * what the objects of it have for __index. */
void grb_open_classes(lua_State *L, gr_state *S); /* class.c */

#endif
