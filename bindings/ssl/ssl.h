/* What the files of greenlua.core.ssl share: contexts, connections and
 * certificates of OpenSSL.
 *
 * A connection is a filter (host/filter.h) under a socket of greenlua.core.
 * socket, which keeps it as its user value; the methods here take that socket.
 * All of OpenSSL's input and output passes through the filter, so none of its
 * functions ever blocks, and one that writes never asks to be called again.
 *
 * OpenSSL is loaded when the module is (openssl.c), not with the program.
 */
#ifndef GRB_SSL_H
#define GRB_SSL_H

#include <lauxlib.h>
#include <lua.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "filter.h"

/* --- contexts ------------------------------------------------------------ */

typedef struct grb_session {
  struct grb_session *next;
  SSL_SESSION *session;
  char name[];
} grb_session;

/* The user value of a context is a table of what is called, or used, in its
 * handshakes: sni, alpn, psk. */
typedef struct grb_context {
  SSL_CTX *ctx;
  bool server;
  bool luasec;      /* what LuaSec does differently */
  bool continues;   /* a certificate that fails ends no handshake */
  bool any_purpose; /* a client's certificate may be a server's */
  char *alpn;       /* a server's protocols, in wire format, or NULL */
  size_t alpn_len;
  grb_session *sessions; /* a client's, the last used one first */
  int nsessions;
  int keylog; /* descriptor, or -1 */
} grb_context;

/* Argument `arg` as a context; raises if it is none, or NULL. */
grb_context *grb_check_context(lua_State *L, int arg);
grb_context *grb_to_context(lua_State *L, int arg);

void grb_open_contexts(lua_State *L);

/* --- connections --------------------------------------------------------- */

typedef struct grb_fault {
  int depth, err;
} grb_fault;

/* User values: 1: the context; 2: the function that chooses a context by name,
 * or nil; 3: the context that it had before it was chosen. */
typedef struct grb_tls {
  gr_filter filter; /* first */
  SSL *ssl;
  grb_context *context;
  lua_State *L;    /* in a handshake: whose index 1 is the socket */
  char *name;      /* of the server, for its sessions */
  char *reason;    /* of a failure, if it is made for it */
  int failed;      /* -errno of the failure that ended it */
  int wire;        /* errno of the last read */
  bool busy : 1;   /* OpenSSL is calling us */
  bool raised : 1; /* the error of a callback is on top of L */
  bool ended : 1;  /* we have said that we write no more */
  int nfaults;
  grb_fault *faults; /* of the peer's certificates */
} grb_tls;

/* Argument `arg`, a connection or the socket above it; raises. */
grb_tls *grb_check_tls(lua_State *L, int arg);

/* Where a connection is kept: its user values. */
enum { GRB_CONTEXT = 1, GRB_CHOOSE, GRB_FORMER };

extern const gr_filter_type grb_tls_type;

/* OpenSSL's view of a connection's descriptor.  0, or -1: out of memory. */
int grb_set_bio(lua_State *L, grb_tls *c);

void grb_open_wire(lua_State *L);
void grb_open_connections(lua_State *L);

/* --- handshakes ---------------------------------------------------------- */

/* Let a context's handshakes call us. */
void grb_set_callbacks(grb_context *x);

/* Write the secrets of its connections to x->keylog. */
void grb_log_secrets(grb_context *x);

/* Note what is wrong with a certificate; for SSL_CTX_set_verify. */
int grb_verify(int ok, X509_STORE_CTX *store);

/* --- sessions ------------------------------------------------------------ */

/* Keep a client's sessions, one for each name. */
void grb_keep_sessions(grb_context *x);

/* Go on where the last one with that name ended. */
void grb_resume(grb_tls *c);

void grb_drop_sessions(grb_context *x);

/* --- failing ------------------------------------------------------------- */

/* Why OpenSSL's last call failed: the entry of its queue that says most. */
const char *grb_reason(void);

/* Push nil and a message; 2. */
int grb_ssl_fail(lua_State *L, const char *message);

/* --- certificates -------------------------------------------------------- */

/* Push a certificate, which becomes the object's; nil for NULL. */
void grb_push_certificate(lua_State *L, X509 *cert);

void grb_open_certificates(lua_State *L);

/* --- by file ------------------------------------------------------------- */

extern const luaL_Reg grb_connection_funcs[];  /* connection.c */
extern const luaL_Reg grb_certificate_funcs[]; /* certificate.c */
extern const luaL_Reg grb_context_funcs[];     /* context.c */
extern const luaL_Reg grb_handshake_funcs[];   /* handshake.c */
extern const luaL_Reg grb_option_funcs[];      /* trust.c */
extern const luaL_Reg grb_peer_funcs[];        /* peer.c */
extern const luaL_Reg grb_trust_methods[];     /* trust.c */
/* Have OpenSSL; NULL or why not. */
const char *grb_load_openssl(void);

#endif
