/* poll, select, epoll_wait and the sleeps.
 *
 * What is ready is for the real one to say, with a timeout of 0: before each
 * wait, and after it. */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "alloc.h"
#include "coop.h"
#include "real.h"

/* --- time --------------------------------------------------------------- */

static bool is_valid(const struct timespec *t) {
  return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

static double seconds_of(const struct timespec *t) {
  return (double)t->tv_sec + (double)t->tv_nsec * 1e-9;
}

/* The deadline of a wait for so long: 0, if it is not to wait. */
static double deadline(double seconds) {
  return seconds > 0 ? gr_now() + seconds : 0;
}

/* What is left until then, rounded up; NULL: for ever. */
static struct timespec *left_until(double at, struct timespec *t) {
  if (at == INFINITY) return NULL;
  double left = at - gr_now(), whole = left > 0 ? floor(left) : 0;
  t->tv_sec = (time_t)whole;
  t->tv_nsec = left > 0 ? (long)ceil((left - whole) * 1e9) : 0;
  if (t->tv_nsec >= 1000000000) {
    t->tv_nsec = 0;
    t->tv_sec++;
  }
  return t;
}

/* Does the mask make a difference?  Then only the kernel can do it. */
static bool changes_mask(const sigset_t *mask) {
  sigset_t now;
  if (!mask) return false;
  if (pthread_sigmask(SIG_SETMASK, NULL, &now)) return true;
  for (int sig = 1; sig <= SIGRTMAX; sig++)
    if (sigismember(&now, sig) != sigismember(mask, sig)) return true;
  return false;
}

/* --- poll --------------------------------------------------------------- */

static int all_polled(struct pollfd *fds, nfds_t n) {
  int count = 0;
  for (nfds_t i = 0; i < n; i++) {
    fds[i].revents = 0;
    if (fds[i].fd < 0) continue;
    fds[i].revents = fds[i].events | POLLERR | POLLHUP;
    count++;
  }
  return count;
}

static int poll_until(gr_state *S, struct pollfd *fds, nfds_t n, double at) {
  static const gr_wait what = {.name = "poll", .foreign = true};
  struct timespec t;
  bool late = at == 0;
  if (gr_coop_struck(S)) return all_polled(fds, n);
  for (;;) {
    int count = GR_REAL(poll)(fds, n, 0);
    if (count) return count;
    if (late) break;
    switch (gr_coop_await(S, &what, fds, n, at)) {
    case GR_COOP_LOOK:
      break;
    case GR_COOP_LATE:
      late = true;
      break;
    case GR_COOP_STRUCK:
      return all_polled(fds, n);
    case GR_COOP_CANNOT:
      return GR_REAL(ppoll)(fds, n, left_until(at, &t), NULL);
    }
  }
  if (at == 0) gr_coop_missed(S);
  return 0;
}

GR_EXPORT int poll(struct pollfd *fds, nfds_t n, int ms) {
  gr_state *S = gr_coop_here();
  if (!S) return GR_REAL(poll)(fds, n, ms);
  return poll_until(S, fds, n, ms < 0 ? INFINITY : deadline(ms * 1e-3));
}

GR_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *t,
                    const sigset_t *mask) {
  gr_state *S = gr_coop_here();
  if (!S || (t && !is_valid(t)) || changes_mask(mask))
    return GR_REAL(ppoll)(fds, n, t, mask);
  return poll_until(S, fds, n, t ? deadline(seconds_of(t)) : INFINITY);
}

GR_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size) {
  if (!gr_coop_here() || size / sizeof *fds < n)
    return GR_REAL(__poll_chk)(fds, n, ms, size);
  return poll(fds, n, ms);
}

GR_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n,
                          const struct timespec *t, const sigset_t *mask,
                          size_t size) {
  if (!gr_coop_here() || size / sizeof *fds < n)
    return GR_REAL(__ppoll_chk)(fds, n, t, mask, size);
  return ppoll(fds, n, t, mask);
}

/* --- select ------------------------------------------------------------- */

/* The sets may be larger than fd_set says, if their number is. */
typedef unsigned long word;
enum { BITS = sizeof(word) * CHAR_BIT, KINDS = 3, USUAL = FD_SETSIZE / BITS };

typedef struct selection {
  int n;
  size_t words;       /* of each set */
  word *sets[KINDS];  /* the caller's, or NULL */
  word *asked[KINDS]; /* what was in them */
  word usual[KINDS * USUAL], *space;
} selection;

static bool open_selection(selection *s, int n, fd_set *r, fd_set *w,
                           fd_set *e) {
  fd_set *sets[KINDS] = {r, w, e};
  s->n = n;
  s->words = ((size_t)n + BITS - 1) / BITS;
  s->space = s->usual;
  if (s->words > USUAL &&
      !(s->space = gr_realloc(NULL, KINDS * s->words * sizeof(word))))
    return false;
  for (int i = 0; i < KINDS; i++) {
    s->sets[i] = (word *)(void *)sets[i];
    s->asked[i] = s->space + (size_t)i * s->words;
    size_t size = s->words * sizeof(word);
    if (s->sets[i])
      memcpy(s->asked[i], s->sets[i], size);
    else
      memset(s->asked[i], 0, size);
  }
  return true;
}

static int close_selection(selection *s, int result) {
  if (s->space != s->usual) gr_free(s->space);
  return result;
}

/* Put into the caller's sets what was asked for: how many that are. */
static int all_selected(selection *s) {
  int count = 0;
  for (int i = 0; i < KINDS; i++) {
    if (!s->sets[i]) continue;
    memcpy(s->sets[i], s->asked[i], s->words * sizeof(word));
    for (size_t k = 0; k < s->words; k++)
      count += __builtin_popcountl(s->asked[i][k]);
  }
  return count;
}

static bool asks(const selection *s, int kind, int fd) {
  return s->asked[kind][(size_t)fd / BITS] >> ((size_t)fd % BITS) & 1;
}

/* As one would ask poll.  NULL: no memory. */
static struct pollfd *as_polled(const selection *s, nfds_t *n) {
  struct pollfd *fds = gr_realloc(NULL, ((size_t)s->n + 1) * sizeof *fds);
  *n = 0;
  for (int fd = 0; fds && fd < s->n; fd++) {
    short events =
        (short)((asks(s, 0, fd) ? POLLIN : 0) | (asks(s, 1, fd) ? POLLOUT : 0) |
                (asks(s, 2, fd) ? POLLPRI : 0));
    if (events) fds[(*n)++] = (struct pollfd){.fd = fd, .events = events};
  }
  return fds;
}

static int real_select(selection *s, struct timespec *t) {
  fd_set *sets[KINDS];
  all_selected(s);
  for (int i = 0; i < KINDS; i++) sets[i] = (fd_set *)(void *)s->sets[i];
  return GR_REAL(pselect)(s->n, sets[0], sets[1], sets[2], t, NULL);
}

static int select_until(gr_state *S, selection *s, double at) {
  static const gr_wait what = {.name = "select", .foreign = true};
  struct timespec t = {0, 0};
  struct pollfd *fds = NULL;
  nfds_t n = 0;
  bool late = at == 0;
  int count;
  if (gr_coop_struck(S)) return all_selected(s);
  while (!(count = real_select(s, &t)) && !late) {
    gr_coop_end how = GR_COOP_CANNOT;
    if (fds || (fds = as_polled(s, &n)))
      how = gr_coop_await(S, &what, fds, n, at);
    if (how == GR_COOP_LATE) late = true;
    if (how != GR_COOP_STRUCK && how != GR_COOP_CANNOT) continue;
    count = how == GR_COOP_STRUCK ? all_selected(s)
                                  : real_select(s, left_until(at, &t));
    break;
  }
  gr_free(fds);
  if (!count && at == 0) gr_coop_missed(S);
  return count;
}

enum { MOST = 1 << 20 }; /* descriptors: what is above is not meant */

GR_EXPORT int pselect(int n, fd_set *r, fd_set *w, fd_set *e,
                      const struct timespec *t, const sigset_t *mask) {
  gr_state *S = gr_coop_here();
  selection s;
  if (!S || n < 0 || n > MOST || (t && !is_valid(t)) || changes_mask(mask) ||
      !open_selection(&s, n, r, w, e))
    return GR_REAL(pselect)(n, r, w, e, t, mask);
  double at = t ? deadline(seconds_of(t)) : INFINITY;
  return close_selection(&s, select_until(S, &s, at));
}

/* Linux says how much of the time is left. */
GR_EXPORT int select(int n, fd_set *r, fd_set *w, fd_set *e,
                     struct timeval *v) {
  gr_state *S = gr_coop_here();
  selection s;
  struct timespec t;
  if (!S || n < 0 || n > MOST || (v && (v->tv_sec < 0 || v->tv_usec < 0)) ||
      !open_selection(&s, n, r, w, e))
    return GR_REAL(select)(n, r, w, e, v);
  double at =
      v ? deadline((double)v->tv_sec + (double)v->tv_usec * 1e-6) : INFINITY;
  int result = select_until(S, &s, at), err = errno;
  if (v && left_until(at, &t)) {
    v->tv_sec = t.tv_sec;
    v->tv_usec = t.tv_nsec / 1000;
  }
  errno = err;
  return close_selection(&s, result);
}

/* --- epoll -------------------------------------------------------------- */

/* A set of epoll's is itself a descriptor that one can wait for. */
static int epoll_look(gr_state *S, int fd, struct epoll_event *events, int max,
                      double at) {
  static const gr_wait what = {.name = "epoll_wait", .foreign = true};
  struct timespec t;
  bool late = at == 0;
  for (;;) {
    int count = GR_REAL(epoll_wait)(fd, events, max, 0);
    if (count || late) return count;
    gr_coop_end how = gr_coop_await_deaf(S, &what, fd, at);
    if (how == GR_COOP_LATE) late = true;
    if (how != GR_COOP_CANNOT) continue;
    double ms = left_until(at, &t) ? ceil(seconds_of(&t) * 1e3) : -1;
    int most = ms < INT_MAX ? (int)ms : INT_MAX;
    return GR_REAL(epoll_wait)(fd, events, max, most);
  }
}

static int epoll_until(gr_state *S, int fd, struct epoll_event *events, int max,
                       double at) {
  int count = epoll_look(S, fd, events, max, at), err = errno;
  if (!count && at == 0) gr_coop_missed(S);
  if (gr_interrupted(S)) gr_raise_after_call(S);
  errno = err;
  return count;
}

GR_EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int ms) {
  gr_state *S = gr_coop_here();
  if (!S) return GR_REAL(epoll_wait)(fd, events, max, ms);
  return epoll_until(S, fd, events, max,
                     ms < 0 ? INFINITY : deadline(ms * 1e-3));
}

GR_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int max, int ms,
                          const sigset_t *mask) {
  if (!gr_coop_here() || changes_mask(mask))
    return GR_REAL(epoll_pwait)(fd, events, max, ms, mask);
  return epoll_wait(fd, events, max, ms);
}

/* --- sleeping ----------------------------------------------------------- */

/* false: not here. */
static bool nap(gr_state *S, double seconds) {
  static const gr_wait what = {.name = "nanosleep", .foreign = true};
  if (gr_coop_struck(S)) return true;
  if (seconds > 0)
    return gr_coop_nap(S, &what, gr_now() + seconds) != GR_COOP_CANNOT;
  gr_coop_give_way(S);
  return true;
}

GR_EXPORT int nanosleep(const struct timespec *t, struct timespec *left) {
  gr_state *S = gr_coop_here();
  if (!S || !is_valid(t) || !nap(S, seconds_of(t)))
    return GR_REAL(nanosleep)(t, left);
  return 0;
}

/* Seconds until `t`; NaN if that is not known. */
static double from_now(clockid_t clock, const struct timespec *t) {
  struct timespec now;
  if (clock_gettime(clock, &now)) return NAN;
  return (double)(t->tv_sec - now.tv_sec) +
         (double)(t->tv_nsec - now.tv_nsec) * 1e-9;
}

static bool goes_on(clockid_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC ||
         clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

GR_EXPORT int clock_nanosleep(clockid_t clock, int flags,
                              const struct timespec *t, struct timespec *left) {
  gr_state *S = gr_coop_here();
  if (!S || !is_valid(t) || !goes_on(clock))
    return GR_REAL(clock_nanosleep)(clock, flags, t, left);
  bool until = flags & TIMER_ABSTIME;
  double seconds = until ? from_now(clock, t) : seconds_of(t);
  if (until && seconds <= 0) return 0;
  if (isnan(seconds) || !nap(S, seconds))
    return GR_REAL(clock_nanosleep)(clock, flags, t, left);
  return 0;
}

GR_EXPORT int usleep(useconds_t us) {
  gr_state *S = gr_coop_here();
  if (!S || !nap(S, us * 1e-6)) return GR_REAL(usleep)(us);
  return 0;
}

GR_EXPORT unsigned sleep(unsigned seconds) {
  gr_state *S = gr_coop_here();
  if (!S || !nap(S, seconds)) return GR_REAL(sleep)(seconds);
  return 0;
}
