#include "channel.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "alloc.h"

enum { RECEIVE_BUFFER = 1 << 20, EDNS_SIZE = 1232, RESPONSE = 0x80 };

/* --- its sockets -------------------------------------------------------- */

typedef struct watched {
  gr_node node;
  gr_channel *channel;
  ev_io watcher;
} watched;

static gr_hub *hub_of(gr_channel *c) {
  return c->resolver->hub;
}

/* Have c-ares called when its next timeout is due. */
static void set_alarm(gr_channel *c) {
  struct timeval tv, *next = c->out ? ares_timeout(c->ares, NULL, &tv) : NULL;
  gr_alarm_clear(hub_of(c), &c->alarm);
  if (!next) return;
  double after = (double)next->tv_sec + (double)next->tv_usec * 1e-6;
  gr_alarm_set(hub_of(c), &c->alarm, gr_hub_now(hub_of(c)) + after + 1e-3,
               true);
}

static void process(gr_channel *c, ares_socket_t in, ares_socket_t out) {
  gr_resolver *r = c->resolver;
  gr_resolver_enter(r);
  ares_process_fd(c->ares, in, out);
  if (in == ARES_SOCKET_BAD || !c->out) set_alarm(c);
  gr_resolver_leave(r); /* may close the channel */
}

static void on_event(struct ev_loop *loop, ev_io *watcher, int events) {
  watched *w = gr_container(watcher, watched, watcher);
  (void)loop;
  process(w->channel, events & EV_READ ? watcher->fd : ARES_SOCKET_BAD,
          events & EV_WRITE ? watcher->fd : ARES_SOCKET_BAD);
}

static void on_alarm(gr_hub *hub, gr_alarm *a) {
  (void)hub;
  process(gr_container(a, gr_channel, alarm), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void unwatch(gr_channel *c, watched *w) {
  if (!ev_is_active(&w->watcher)) return;
  gr_hub_unwatch(hub_of(c));
  ev_io_stop(hub_of(c)->loop, &w->watcher);
}

static watched *find(gr_channel *c, int fd) {
  for (gr_node *n = c->sockets.next; n != &c->sockets; n = n->next) {
    watched *w = gr_container(n, watched, node);
    if (w->watcher.fd == fd) return w;
  }
  return NULL;
}

/* Without memory it is not watched, and c-ares runs into its timeout. */
static watched *find_or_make(gr_channel *c, int fd) {
  watched *w = find(c, fd);
  if (w) return w;
  w = gr_calloc(sizeof *w);
  if (!w) return NULL;
  w->channel = c;
  ev_io_init(&w->watcher, on_event, fd, 0);
  gr_list_append(&c->sockets, &w->node);
  return w;
}

/* c-ares says what to watch a socket for; nothing: it is about to close it. */
static void on_socket(void *arg, ares_socket_t fd, int in, int out) {
  gr_channel *c = arg;
  watched *w = in || out ? find_or_make(c, fd) : find(c, fd);
  if (!w) return;
  unwatch(c, w);
  if (!in && !out) {
    gr_node_remove(&w->node);
    gr_free(w);
    return;
  }
  ev_io_set(&w->watcher, fd, (in ? EV_READ : 0) | (out ? EV_WRITE : 0));
  ev_io_start(hub_of(c)->loop, &w->watcher);
  gr_hub_watch(hub_of(c));
}

/* --- what it does with them --------------------------------------------- */

static ares_socket_t open_socket(int family, int type, int protocol,
                                 void *arg) {
  int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  int size = RECEIVE_BUFFER, on = 1;
  (void)arg;
  if (fd < 0) return ARES_SOCKET_BAD;
  if (type == SOCK_DGRAM)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  else
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int close_socket(ares_socket_t fd, void *arg) {
  (void)arg;
  return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to,
                          ares_socklen_t len, void *arg) {
  (void)arg;
  return connect(fd, to, len);
}

static bool is_datagram(int fd) {
  int type = SOCK_STREAM;
  socklen_t n = sizeof type;
  return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_DGRAM;
}

/* An empty datagram is not the end of a connection, and a question no answer:
 * they become a message too short to be believed. */
static ares_ssize_t receive(ares_socket_t fd, void *data, size_t size,
                            int flags, struct sockaddr *from,
                            ares_socklen_t *len, void *arg) {
  gr_channel *c = arg;
  ssize_t got = recvfrom(fd, data, size, flags, from, len);
  if (got > 0) gr_query_look(c->resolver, data, (size_t)got);
  bool odd = !got || (got > 2 && !(((const uint8_t *)data)[2] & RESPONSE));
  if (!odd || !size || !is_datagram(fd)) return got;
  *(char *)data = 0;
  return 1;
}

static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *pieces,
                                int count, void *arg) {
  struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)pieces,
                     .msg_iovlen = (size_t)count};
  (void)arg;
  return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions functions = {
    open_socket, close_socket, connect_socket, receive, send_pieces};

/* --- life --------------------------------------------------------------- */

/* c-ares' own list of the servers. */
static int set_servers(gr_channel *c, const gr_resolvconf *conf) {
  struct ares_addr_port_node *all =
      gr_calloc((conf->nservers + 1) * sizeof *all);
  if (!all) return -1;
  for (unsigned i = 0; i < conf->nservers; i++) {
    const gr_server *s = &conf->servers[i];
    all[i].next = i + 1 < conf->nservers ? &all[i + 1] : NULL;
    all[i].family = s->address.family;
    all[i].udp_port = all[i].tcp_port = (int)s->port;
    memcpy(&all[i].addr, s->address.bytes, gr_address_len(&s->address));
  }
  int status = ares_set_servers_ports(c->ares, conf->nservers ? all : NULL);
  gr_free(all);
  return status ? -1 : 0;
}

/* All that c-ares would look for in files is said: they are ours to read. */
static int init(gr_channel *c, const gr_resolvconf *conf) {
  char nothing[] = "/dev/null", lookups[] = "b";
  struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES |
                                    (c->resolver->plain ? 0 : ARES_FLAG_EDNS) |
                                    (conf->tcp ? ARES_FLAG_USEVC : 0),
                           .timeout = (int)fmax(conf->timeout * 1e3, 1),
                           .tries = conf->attempts,
                           .ndots = 0,
                           .lookups = lookups,
                           .ednspsz = EDNS_SIZE,
                           .resolvconf_path = nothing,
                           .sock_state_cb = on_socket,
                           .sock_state_cb_data = c};
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
             ARES_OPT_NDOTS | ARES_OPT_LOOKUPS | ARES_OPT_EDNSPSZ |
             ARES_OPT_RESOLVCONF | ARES_OPT_SOCK_STATE_CB | ARES_OPT_DOMAINS |
             (conf->rotate ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE);
  return ares_init_options(&c->ares, &o, mask) ? -1 : 0;
}

gr_channel *gr_channel_open(gr_resolver *r) {
  gr_channel *c = gr_calloc(sizeof *c);
  if (!c) return NULL;
  c->resolver = r;
  gr_list_init(&c->sockets);
  gr_alarm_init(&c->alarm, on_alarm);
  if (init(c, &r->conf)) {
    gr_free(c);
    return NULL;
  }
  ares_set_socket_functions(c->ares, &functions, c);
  gr_list_append(&r->channels, &c->node);
  if (!set_servers(c, &r->conf)) return c;
  gr_channel_close(c);
  return NULL;
}

void gr_channel_close(gr_channel *c) {
  gr_node_remove(&c->node);
  ares_destroy(c->ares);
  gr_alarm_clear(hub_of(c), &c->alarm);
  while (!gr_list_empty(&c->sockets)) {
    watched *w = gr_container(gr_list_first(&c->sockets), watched, node);
    unwatch(c, w);
    gr_node_remove(&w->node);
    gr_free(w);
  }
  gr_free(c);
}

void gr_channel_cancel(gr_channel *c) {
  ares_cancel(c->ares);
  set_alarm(c);
}

/* --- asking ------------------------------------------------------------- */

static void on_answer(void *arg, int status, int timeouts, unsigned char *data,
                      int len) {
  (void)timeouts;
  gr_query_end(arg, status, data, data ? (size_t)len : 0);
}

/* A new query's timeout is not before that of an older one. */
void gr_channel_send(gr_channel *c, gr_query *q) {
  enum { IN = 1 };
  gr_resolver *r = c->resolver;
  gr_resolver_enter(r);
  ares_query(c->ares, q->name, IN, (int)q->type, on_answer, q);
  if (c->out && !gr_timer_set(&c->alarm.timer)) set_alarm(c);
  gr_resolver_leave(r);
}
