/* How long a response's reader is waited for.
 *
 * What counts is what the other side's system has acknowledged, not what ours
 * has taken: that takes megabytes at once, and then tells of room only when a
 * third of them have gone. */
#include <math.h>
#include <sys/ioctl.h>

#include <linux/sockios.h>

#include "http.h"

/* Bytes on their way to the other side; -1: nobody knows. */
static int64_t on_their_way(const grh_conn *c) {
  int n;
  if (ioctl(gr_stream_fd(c->stream), SIOCOUTQ, &n)) return -1;
  return n + (int64_t)c->stream->out.len;
}

void grh_pace_start(grh_conn *c) {
  c->pace = (grh_pace){.credit = c->server->write_grace};
}

static bool is_rated(const grh_conn *c) {
  return c->server->write_rate > 0 && c->pace.queued >= 0;
}

double grh_pace_begin(grh_conn *c) {
  grh_pace *p = &c->pace;
  double most = c->server->write;
  p->since = gr_hub_now(gr_stream_hub(c->stream));
  p->queued = on_their_way(c);
  return p->since + (is_rated(c) && p->credit < most ? p->credit : most);
}

bool grh_pace_end(grh_conn *c, bool late) {
  const grh_server *s = c->server;
  grh_pace *p = &c->pace;
  if (p->since == 0) return late;
  double waited = gr_hub_now(gr_stream_hub(c->stream)) - p->since;
  int64_t now = on_their_way(c), took = 0;
  if (now >= 0 && now < p->queued) took = p->queued - now;
  p->since = 0;
  if (!is_rated(c)) return late && !took;
  p->credit =
      fmin(p->credit - waited + (double)took / s->write_rate, s->write_grace);
  return late && (!took || p->credit <= 0);
}
