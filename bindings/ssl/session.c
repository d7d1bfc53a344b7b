/* A client's sessions: the last one with each server. */
#include <string.h>

#include "alloc.h"
#include "ssl.h"

enum { MOST = 256 };

static void drop(grb_context *x, grb_session **at) {
  grb_session *s = *at;
  *at = s->next;
  x->nsessions--;
  SSL_SESSION_free(s->session);
  gr_free(s);
}

void grb_drop_sessions(grb_context *x) {
  while (x->sessions) drop(x, &x->sessions);
}

/* Where the session of that name is, or where the list ends. */
static grb_session **find(grb_context *x, const char *name) {
  grb_session **at = &x->sessions;
  while (*at && strcmp((*at)->name, name)) at = &(*at)->next;
  return at;
}

static void drop_last(grb_context *x) {
  grb_session **at = &x->sessions;
  while ((*at)->next) at = &(*at)->next;
  drop(x, at);
}

/* A server has given us one: 1 if we keep it.  Often that is long after the
 * handshake, when something is read. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
  grb_tls *c = SSL_get_app_data(ssl);
  grb_context *x = c->context;
  if (!c->name) return 0;
  grb_session **at = find(x, c->name);
  if (*at) drop(x, at);
  if (x->nsessions == MOST) drop_last(x);
  size_t size = strlen(c->name) + 1;
  grb_session *s = gr_realloc(NULL, sizeof *s + size);
  if (!s) return 0;
  memcpy(s->name, c->name, size);
  s->session = session;
  s->next = x->sessions;
  x->sessions = s;
  x->nsessions++;
  return 1;
}

void grb_keep_sessions(grb_context *x) {
  SSL_CTX_set_session_cache_mode(x->ctx, SSL_SESS_CACHE_CLIENT |
                                             SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(x->ctx, on_session);
}

void grb_resume(grb_tls *c) {
  grb_context *x = c->context;
  grb_session **at = c->name ? find(x, c->name) : &x->sessions;
  if (!c->name || !*at) return;
  if (!SSL_SESSION_is_resumable((*at)->session)) {
    drop(x, at);
    return;
  }
  SSL_set_session(c->ssl, (*at)->session);
}
