#include <errno.h>
#include <limits.h>
#include <math.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pass.h"

enum { KEEP_STACKS = 256 }; /* between two steps: many may block in place */

/* --- one step ------------------------------------------------------------ */

static bool anybody_ready(const gr_hub *hub) {
  return !gr_list_empty(&hub->ready) || !gr_list_empty(&hub->polled);
}

static bool must_poll(const gr_hub *hub) {
  if (!hub->owns_loop) return false; /* a host's is the host's to run */
  return hub->watched || (hub->poll_fd >= 0 && hub->dirty);
}

static bool timer_due(const gr_hub *hub) {
  double next = gr_timers_next(&hub->timers);
  return next < INFINITY && next <= gr_hub_now(hub);
}

static void poll_loop(gr_hub *hub) {
  hub->dirty = false;
  hub->stepping = true;
  ev_run(hub->loop, EVRUN_NOWAIT);
  hub->stepping = false;
}

/* What has happened outside: callbacks only wake, as under a loop. */
static void gather(gr_hub *hub) {
  gr_waiter *host = hub->current;
  hub->current = NULL;
  if (must_poll(hub)) poll_loop(hub);
  gr_hub_run_posts(hub);
  if (timer_due(hub)) gr_hub_expire(hub);
  hub->current = host;
  if (!anybody_ready(hub)) gr_wake_first(hub, &hub->idlers, GR_WOKEN);
}

static void run_ready(gr_hub *hub, double seconds) {
  hub->budget = UINT_MAX;
  hub->look = seconds < INFINITY ? 1 : GR_CLOCK_EVERY;
  hub->until = gr_now() + seconds;
  hub->due = 1; /* however short the time is */
  if (hub->before_pass) hub->before_pass(hub);
  gr_hub_enter(hub);
  hub->due = 0;
  gr_hub_settle(hub);
  gr_hub_trim(hub, KEEP_STACKS);
  /* Whoever runs the loop next begins a new turn. */
  if (hub->loop) hub->turns = ev_iteration(hub->loop) - 1;
}

bool gr_hub_step(gr_hub *hub, double seconds) {
  gather(hub);
  if (anybody_ready(hub)) run_ready(hub, seconds);
  if (hub->poll_fd >= 0 && hub->dirty && hub->owns_loop) {
    gr_waiter *host = hub->current;
    hub->current = NULL;
    poll_loop(hub); /* so that the kernel knows what is watched now */
    hub->current = host;
  }
  return anybody_ready(hub);
}

/* --- for who drives it --------------------------------------------------- */

double gr_hub_next(const gr_hub *hub) {
  if (anybody_ready(hub) || gr_hub_posted(hub) || !gr_list_empty(&hub->idlers))
    return 0;
  double next = gr_timers_next(&hub->timers);
  if (next == INFINITY) return next;
  double after = next - gr_hub_now(hub);
  return after > 0 ? after : 0;
}

/* The descriptor of epoll in a loop: what libev would watch if it embedded
 * this loop in another one. */
static int backend_fd(struct ev_loop *loop) {
  int fd = -1;
  if (!(ev_backend(loop) & ev_embeddable_backends())) {
    errno = ENOTSUP;
    return -1;
  }
  struct ev_loop *outer = ev_loop_new(EVFLAG_AUTO);
  if (!outer) return -1;
  ev_embed embed;
  ev_embed_init(&embed, NULL, loop);
  ev_embed_start(outer, &embed);
  fd = embed.io.fd;
  ev_embed_stop(outer, &embed);
  ev_loop_destroy(outer);
  return fd;
}

static int add(int epoll, int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

/* libev's own way to wake a loop is only used while ev_run waits, so posts
 * have a descriptor beside it. */
static int open_fds(gr_hub *hub, int *post) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return -1;
  int of_loop = hub->loop ? backend_fd(hub->loop) : -1;
  *post = -1;
  if ((hub->loop && of_loop < 0) || (of_loop >= 0 && add(epoll, of_loop)))
    goto fail;
  *post = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (*post < 0 || add(epoll, *post)) goto fail;
  return epoll;
fail:;
  int err = errno;
  if (*post >= 0) close(*post);
  close(epoll);
  errno = err;
  return -1;
}

int gr_hub_fd(gr_hub *hub) {
  int post;
  if (hub->poll_fd >= 0) return hub->poll_fd;
  int fd = open_fds(hub, &post);
  if (fd < 0) return -1;
  pthread_mutex_lock(&hub->lock);
  hub->post_fd = post;
  if (gr_hub_posted(hub)) (void)!eventfd_write(post, 1);
  pthread_mutex_unlock(&hub->lock);
  hub->poll_fd = fd;
  hub->dirty = true;
  return fd;
}
