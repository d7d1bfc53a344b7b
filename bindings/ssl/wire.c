/* A TLS connection as a stream's filter: what OpenSSL reads and writes. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "alloc.h"
#include "ssl.h"

/* --- the descriptor, as OpenSSL sees it ---------------------------------- */

static int wire_write(BIO *b, const char *data, size_t size, size_t *done) {
  grb_tls *c = BIO_get_data(b);
  gr_filter_put(&c->filter, data, size);
  *done = size;
  return 1;
}

static int wire_read(BIO *b, char *to, size_t size, size_t *done) {
  grb_tls *c = BIO_get_data(b);
  ssize_t n = gr_filter_take(&c->filter, to, size);
  BIO_clear_retry_flags(b);
  c->wire = n < 0 && n != -EAGAIN ? (int)-n : 0;
  if (n == -EAGAIN) BIO_set_retry_read(b);
  if (n == 0) BIO_set_flags(b, BIO_FLAGS_IN_EOF);
  *done = n > 0 ? (size_t)n : 0;
  return n > 0;
}

static long wire_ctrl(BIO *b, int what, long number, void *pointer) {
  (void)number, (void)pointer;
  if (what == BIO_CTRL_EOF) return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
  return what == BIO_CTRL_FLUSH;
}

/* The state's BIO_METHOD is in the registry under this.  It is made before all
 * connections, and so is freed after them. */
static const char key;

static int free_method(lua_State *L) {
  BIO_METHOD **m = lua_touserdata(L, 1);
  if (*m) BIO_meth_free(*m);
  *m = NULL;
  return 0;
}

static bool fill_method(BIO_METHOD *m) {
  return m && BIO_meth_set_write_ex(m, wire_write) &&
         BIO_meth_set_read_ex(m, wire_read) && BIO_meth_set_ctrl(m, wire_ctrl);
}

void grb_open_wire(lua_State *L) {
  BIO_METHOD **m = lua_newuserdatauv(L, sizeof *m, 0);
  *m = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, free_method);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "greenlua");
  if (!fill_method(*m)) luaL_error(L, "not enough memory");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

int grb_set_bio(lua_State *L, grb_tls *c) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  BIO_METHOD **m = lua_touserdata(L, -1);
  BIO *b = BIO_new(*m);
  lua_pop(L, 1);
  if (!b) return -1;
  BIO_set_data(b, c);
  BIO_set_init(b, 1);
  SSL_set_bio(c->ssl, b, b);
  return 0;
}

/* --- failing ------------------------------------------------------------- */

/* Most callers pass an error on with "so it has failed" of their own. */
static const char *telling(unsigned long e) {
  const char *text = ERR_reason_error_string(e);
  if (ERR_SYSTEM_ERROR(e)) return strerror(ERR_GET_REASON(e));
  size_t n = text ? strlen(text) : 0;
  return n > 4 && !strcmp(text + n - 4, " lib") ? NULL : text;
}

const char *grb_reason(void) {
  unsigned long e, first = ERR_peek_error();
  const char *best = NULL;
  while ((e = ERR_get_error())) {
    const char *text = telling(e);
    if (text && (!best || ERR_SYSTEM_ERROR(e))) best = text;
  }
  if (!best) best = ERR_reason_error_string(first);
  return best ? best : "unknown error";
}

/* A message that is made for this failure; `reason` if there is no memory. */
static void set_reason(grb_tls *c, const char *reason, const char *detail) {
  size_t size = strlen(reason) + strlen(detail) + 3;
  gr_free(c->reason);
  c->reason = gr_realloc(NULL, size);
  c->filter.message = c->reason ? c->reason : reason;
  if (!c->reason) return;
  strcpy(c->reason, reason);
  strcat(strcat(c->reason, ": "), detail);
}

static void say_verify_failed(grb_tls *c, const char *reason) {
  long result = SSL_get_verify_result(c->ssl);
  const char *why = X509_verify_cert_error_string(result);
  if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
      result == X509_V_ERR_IP_ADDRESS_MISMATCH)
    set_reason(c, "hostname mismatch, the certificate is not for",
               c->name ? c->name : "that name");
  else
    set_reason(c, reason, why);
}

/* OpenSSL's own error, for the rest of the connection. */
static int protocol_failed(grb_tls *c) {
  unsigned long e = ERR_peek_error();
  int reason = ERR_GET_REASON(e);
  c->filter.message = grb_reason();
  if (ERR_GET_LIB(e) != ERR_LIB_SSL) return -EPROTO;
  switch (reason) {
  case SSL_R_UNEXPECTED_EOF_WHILE_READING:
    return -ECONNRESET;
  case SSL_R_PROTOCOL_IS_SHUTDOWN:
    return -EPIPE;
  case SSL_R_CERTIFICATE_VERIFY_FAILED:
    if (!c->context->luasec) say_verify_failed(c, c->filter.message);
    return -EPROTO;
  case SSL_R_WRONG_VERSION_NUMBER:
    if (!c->context->luasec && !c->filter.open)
      set_reason(c, c->filter.message, "the peer does not speak TLS");
    return -EPROTO;
  default:
    return -EPROTO;
  }
}

/* What a call that returned `result` wants, as a code of filters': 0 the end,
 * -EAGAIN, -errno for good. */
static int outcome(grb_tls *c, int result) {
  switch (SSL_get_error(c->ssl, result)) {
  case SSL_ERROR_WANT_READ:
    return c->wire ? (c->failed = -c->wire) : -EAGAIN;
  case SSL_ERROR_ZERO_RETURN:
    return 0;
  case SSL_ERROR_SSL:
    return c->failed = protocol_failed(c);
  default:
    return c->failed = c->wire ? -c->wire : -ECONNRESET;
  }
}

/* --- the filter ---------------------------------------------------------- */

static void settle(grb_tls *c) {
  gr_filter *f = &c->filter;
  bool over = c->failed || SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN;
  f->negotiating = f->open && SSL_in_init(c->ssl);
  f->more = over || f->raw.len || SSL_has_pending(c->ssl);
}

/* OpenSSL is left alone while one of its callbacks waits. */
static void free_ssl(grb_tls *c) {
  if (c->busy || !c->ssl) return;
  SSL_free(c->ssl);
  c->ssl = NULL;
}

static int handshake(gr_filter *f, void *by) {
  grb_tls *c = (grb_tls *)(void *)f;
  if (c->failed) return c->failed;
  if (f->open) return 1;
  if (c->busy) return -EALREADY;
  c->L = by;
  c->busy = true;
  ERR_clear_error();
  int result = SSL_do_handshake(c->ssl);
  int got = result == 1 ? 1 : outcome(c, result);
  c->busy = false;
  c->L = NULL;
  if (c->raised) {
    c->raised = false;
    c->failed = -ECONNABORTED;
    got = -ECANCELED;
  } else if (got == 0) {
    got = c->failed = -ECONNRESET;
  }
  if (!f->stream) {
    free_ssl(c);
    return got == -ECANCELED ? got : -ECONNRESET;
  }
  f->open = got == 1;
  settle(c);
  return got;
}

static int fill(gr_filter *f, size_t want) {
  grb_tls *c = (grb_tls *)(void *)f;
  size_t room, n, all = 0;
  int got = 1;
  if (c->failed) return c->failed == -EPIPE ? -ECONNRESET : c->failed;
  do {
    char *to = gr_filter_space(f, want, &room);
    if (!to) return -ENOMEM;
    ERR_clear_error();
    int result = SSL_read_ex(c->ssl, to, room, &n);
    if (result) {
      gr_filter_filled(f, n);
      all += n;
    } else {
      got = outcome(c, result);
    }
  } while (got == 1 && n < room);
  settle(c);
  return all ? 1 : got;
}

static int write_all(gr_filter *f, const char *data, size_t size) {
  grb_tls *c = (grb_tls *)(void *)f;
  while (size) {
    size_t n = 0;
    if (c->failed) return c->failed;
    if (c->ended) return -EPIPE;
    ERR_clear_error();
    int result = SSL_write_ex(c->ssl, data, size, &n);
    if (!result) {
      int got = outcome(c, result);
      return got == -EAGAIN || !got ? -ECONNRESET : got;
    }
    data += n;
    size -= n;
  }
  return 0;
}

static void end(gr_filter *f) {
  grb_tls *c = (grb_tls *)(void *)f;
  if (c->failed || c->ended || c->busy || !f->open) return;
  c->ended = true;
  ERR_clear_error();
  SSL_shutdown(c->ssl);
}

static void leave(gr_filter *f) {
  free_ssl((grb_tls *)(void *)f);
}

const gr_filter_type grb_tls_type = {
    .handshake = handshake,
    .fill = fill,
    .write = write_all,
    .end = end,
    .leave = leave,
};
