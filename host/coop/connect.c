/* connect and accept, which know no flag for not to wait.
 *
 * So their socket does not block for as long as the system call takes.  Who
 * shares it, by a fork, and makes a call on it in this very moment would find
 * it so, and be told EAGAIN; therefore accept does it only when there is
 * somebody to be accepted. */
#include <fcntl.h>

#include "io.h"
#include "real.h"

static int accept_at_once(int fd, __SOCKADDR_ARG from, socklen_t *length,
                          int flags) {
  int before = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, before | O_NONBLOCK);
  int result = GR_REAL(accept4)(fd, from, length, flags), err = errno;
  fcntl(fd, F_SETFL, before);
  errno = err;
  return result;
}

static int accept_from(gr_state *S, const gr_wait *what, int fd,
                       __SOCKADDR_ARG from, socklen_t *length, int flags) {
  gr_coop_io io = {S, what, fd, POLLIN, SO_RCVTIMEO, false, 0};
  for (;;) {
    switch (gr_coop_io_ready(&io)) {
    case GR_COOP_LOOK:
      break;
    case GR_COOP_LATE:
      return gr_coop_fail(EAGAIN);
    case GR_COOP_STRUCK: /* who accepts takes ECONNABORTED for the peer's */
      return gr_coop_fail(ECANCELED);
    case GR_COOP_CANNOT:
      return GR_REAL(accept4)(fd, from, length, flags);
    }
    int result = accept_at_once(fd, from, length, flags);
    if (result >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
      return result; /* or somebody else has got it */
  }
}

GR_EXPORT int accept4(int fd, __SOCKADDR_ARG from, socklen_t *length,
                      int flags) {
  static const gr_wait what = {.name = "accept", .foreign = true};
  gr_state *S = gr_coop_here();
  if (S && gr_coop_struck(S)) return gr_coop_fail(ECANCELED);
  if (!S || !gr_coop_blocks(fd))
    return GR_REAL(accept4)(fd, from, length, flags);
  return accept_from(S, &what, fd, from, length, flags);
}

GR_EXPORT int accept(int fd, __SOCKADDR_ARG from, socklen_t *length) {
  if (!gr_coop_here()) return GR_REAL(accept)(fd, from, length);
  return accept4(fd, from, length, 0);
}

/* --- connect ------------------------------------------------------------ */

static int connect_at_once(int fd, __CONST_SOCKADDR_ARG to, socklen_t length) {
  int before = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, before | O_NONBLOCK);
  int result = GR_REAL(connect)(fd, to, length), err = errno;
  fcntl(fd, F_SETFL, before);
  errno = err;
  return result;
}

/* How a connection that is being made has turned out. */
static int outcome(int fd) {
  int err = 0;
  socklen_t size = sizeof err;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size)) return -1;
  return err ? gr_coop_fail(err) : 0;
}

/* A UNIX listener's queue is full, which nothing tells the end of. */
static gr_coop_end await_room(gr_coop_io *io, double *pause) {
  enum { LONGEST = 50 }; /* ms */
  if (!io->begun) io->at = gr_coop_deadline(io->fd, io->option);
  io->begun = true;
  double next = gr_now() + *pause;
  if (*pause < LONGEST * 1e-3) *pause *= 2;
  gr_coop_end how = gr_coop_nap(io->S, io->what, next < io->at ? next : io->at);
  return how == GR_COOP_LATE && gr_now() < io->at ? GR_COOP_LOOK : how;
}

static int connect_to(gr_state *S, const gr_wait *what, int fd,
                      __CONST_SOCKADDR_ARG to, socklen_t length) {
  gr_coop_io io = {S, what, fd, POLLOUT, SO_SNDTIMEO, false, 0};
  gr_coop_end how = GR_COOP_LOOK;
  double pause = 1e-3;
  bool full;
  do {
    int result = connect_at_once(fd, to, length);
    full =
        result < 0 && errno == EAGAIN && to.__sockaddr__->sa_family == AF_UNIX;
    if (!full && (result == 0 || (errno != EINPROGRESS && errno != EALREADY)))
      return result;
    how = full ? await_room(&io, &pause) : gr_coop_io_ready(&io);
  } while (full && how == GR_COOP_LOOK);
  switch (how) {
  case GR_COOP_LOOK:
    break;
  case GR_COOP_LATE:
    return gr_coop_fail(full ? EAGAIN : EINPROGRESS);
  case GR_COOP_STRUCK:
    return gr_coop_fail(ECONNABORTED);
  case GR_COOP_CANNOT:
    return GR_REAL(connect)(fd, to, length);
  }
  return outcome(fd);
}

GR_EXPORT int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t length) {
  static const gr_wait what = {.name = "connect", .foreign = true};
  gr_state *S = gr_coop_here();
  if (S && gr_coop_struck(S)) return gr_coop_fail(ECONNABORTED);
  if (!S || !gr_coop_blocks(fd)) return GR_REAL(connect)(fd, to, length);
  return connect_to(S, &what, fd, to, length);
}
