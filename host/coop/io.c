/* recv, send and kin.
 *
 * On a socket a call is tried with MSG_DONTWAIT, which tells nobody else that
 * uses it, and so costs no more than ever if it need not wait. */
#include "io.h"

#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "real.h"

/* --- descriptors -------------------------------------------------------- */

bool gr_coop_blocks(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && !(flags & O_NONBLOCK);
}

double gr_coop_deadline(int fd, int option) {
  struct timeval t = {0, 0};
  socklen_t size = sizeof t;
  if (!option || getsockopt(fd, SOL_SOCKET, option, &t, &size)) return INFINITY;
  double seconds = (double)t.tv_sec + (double)t.tv_usec * 1e-6;
  return seconds > 0 ? gr_now() + seconds : INFINITY;
}

gr_coop_end gr_coop_io_await(gr_coop_io *io) {
  if (!io->begun) io->at = gr_coop_deadline(io->fd, io->option);
  io->begun = true;
  return gr_coop_await_fd(io->S, io->what, io->fd, io->events, io->at);
}

gr_coop_end gr_coop_io_ready(gr_coop_io *io) {
  struct pollfd p = {.fd = io->fd, .events = io->events};
  gr_coop_end how = GR_COOP_LOOK;
  while (!GR_REAL(poll)(&p, 1, 0) && how == GR_COOP_LOOK)
    how = gr_coop_io_await(io);
  return p.revents ? GR_COOP_LOOK : how;
}

static bool is_stream(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) &&
         type == SOCK_STREAM;
}

/* --- messages ----------------------------------------------------------- */

void gr_coop_set_buffer(gr_coop_message *msg, const void *buffer, size_t size) {
  memset(msg, 0, sizeof *msg);
  msg->one =
      (struct iovec){.iov_base = (void *)(uintptr_t)buffer, .iov_len = size};
  msg->m.msg_iov = &msg->one;
  msg->m.msg_iovlen = 1;
}

void gr_coop_set_vectors(gr_coop_message *msg, const struct iovec *of,
                         size_t n) {
  memset(msg, 0, sizeof *msg);
  msg->m.msg_iov = (struct iovec *)(uintptr_t)of;
  msg->m.msg_iovlen = n;
}

static size_t size_of(const struct iovec *of, size_t n) {
  size_t size = 0;
  for (size_t i = 0; i < n; i++) size += of[i].iov_len;
  return size;
}

/* `n` bytes more are done.  Is there something left?  What comes with the first
 * piece does not come again.  No memory: it ends here. */
static bool advance(gr_coop_message *msg, size_t n) {
  struct msghdr *m = &msg->m;
  msg->done += n;
  if (n == size_of(m->msg_iov, m->msg_iovlen)) return false;
  if (m->msg_iov != &msg->one && !msg->own) {
    msg->own = gr_realloc(NULL, m->msg_iovlen * sizeof *msg->own);
    if (!msg->own) return false;
    memcpy(msg->own, m->msg_iov, m->msg_iovlen * sizeof *msg->own);
    m->msg_iov = msg->own;
  }
  m->msg_name = m->msg_control = NULL;
  m->msg_namelen = 0;
  m->msg_controllen = 0;
  while (n >= m->msg_iov->iov_len) {
    n -= m->msg_iov++->iov_len;
    m->msg_iovlen--;
  }
  m->msg_iov->iov_base = (char *)m->msg_iov->iov_base + n;
  m->msg_iov->iov_len -= n;
  return true;
}

/* What the call returns whose last piece came to `result`. */
static ssize_t finish(gr_coop_message *msg, ssize_t result) {
  gr_free(msg->own);
  if (result >= 0) return (ssize_t)msg->done + result;
  return msg->done ? (ssize_t)msg->done : result;
}

/* A piece, without waiting; and as the caller has asked for. */
typedef ssize_t piece(int fd, struct msghdr *m, int flags);

static bool would_wait(void) {
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

/* The next piece; it waits if need be. */
static ssize_t next_piece(gr_coop_io *io, piece *call, gr_coop_message *msg,
                          int flags) {
  bool late = false;
  for (;;) {
    ssize_t n = call(io->fd, &msg->m, flags | MSG_DONTWAIT);
    if (n >= 0 || !would_wait() || late) return n;
    if (!io->begun && !gr_coop_blocks(io->fd)) return gr_coop_fail(EAGAIN);
    switch (gr_coop_io_await(io)) {
    case GR_COOP_LOOK:
      break;
    case GR_COOP_LATE:
      late = true;
      break;
    case GR_COOP_STRUCK:
      return gr_coop_fail(ECONNABORTED);
    case GR_COOP_CANNOT:
      return call(io->fd, &msg->m, flags);
    }
  }
}

/* --- receiving ---------------------------------------------------------- */

static ssize_t receive_piece(int fd, struct msghdr *m, int flags) {
  return GR_REAL(recvmsg)(fd, m, flags);
}

/* The first piece fills in what comes with it. */
ssize_t gr_coop_receive(gr_state *S, const gr_wait *what, int fd,
                        gr_coop_message *msg, int flags,
                        struct msghdr *answer) {
  gr_coop_io io = {S, what, fd, POLLIN, SO_RCVTIMEO, false, 0};
  if (gr_coop_struck(S)) return gr_coop_fail(ECONNABORTED);
  bool now = flags & MSG_DONTWAIT;
  ssize_t n = now ? receive_piece(fd, &msg->m, flags)
                  : next_piece(&io, receive_piece, msg, flags);
  if (answer) *answer = msg->m;
  bool all = flags & MSG_WAITALL && !(flags & MSG_PEEK) && !now &&
             gr_coop_blocks(fd) && is_stream(fd);
  while (all && n > 0 && advance(msg, (size_t)n))
    n = next_piece(&io, receive_piece, msg, flags);
  if (all && n > 0) n = 0; /* advance has counted it */
  return finish(msg, n);
}

GR_EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags) {
  static const gr_wait what = {.name = "recvmsg", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(recvmsg)(fd, m, flags);
  gr_coop_set_vectors(&msg, m->msg_iov, m->msg_iovlen);
  struct msghdr answer = msg.m = *m;
  ssize_t n = gr_coop_receive(S, &what, fd, &msg, flags, &answer);
  answer.msg_iov = m->msg_iov;
  answer.msg_iovlen = m->msg_iovlen;
  *m = answer;
  return n;
}

GR_EXPORT ssize_t recvfrom(int fd, void *buffer, size_t size, int flags,
                           __SOCKADDR_ARG from, socklen_t *length) {
  static const gr_wait what = {.name = "recvfrom", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(recvfrom)(fd, buffer, size, flags, from, length);
  gr_coop_set_buffer(&msg, buffer, size);
  if (from.__sockaddr__ && length) {
    msg.m.msg_name = from.__sockaddr__;
    msg.m.msg_namelen = *length;
  }
  struct msghdr answer = msg.m;
  ssize_t n = gr_coop_receive(S, &what, fd, &msg, flags, &answer);
  if (n >= 0 && answer.msg_name) *length = answer.msg_namelen;
  return n;
}

GR_EXPORT ssize_t recv(int fd, void *buffer, size_t size, int flags) {
  static const gr_wait what = {.name = "recv", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(recv)(fd, buffer, size, flags);
  gr_coop_set_buffer(&msg, buffer, size);
  return gr_coop_receive(S, &what, fd, &msg, flags, NULL);
}

GR_EXPORT ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room,
                             int flags) {
  if (!gr_coop_here() || size > room)
    return GR_REAL(__recv_chk)(fd, buffer, size, room, flags);
  return recv(fd, buffer, size, flags);
}

GR_EXPORT ssize_t __recvfrom_chk(int fd, void *buffer, size_t size, size_t room,
                                 int flags, __SOCKADDR_ARG from,
                                 socklen_t *length) {
  if (!gr_coop_here() || size > room)
    return GR_REAL(__recvfrom_chk)(fd, buffer, size, room, flags, from, length);
  return recvfrom(fd, buffer, size, flags, from, length);
}

/* --- sending ------------------------------------------------------------ */

static ssize_t send_piece(int fd, struct msghdr *m, int flags) {
  return GR_REAL(sendmsg)(fd, m, flags);
}

/* All of it, as a blocking socket does.  Only the first piece may end in a
 * SIGPIPE: after that the answer is how much has gone. */
ssize_t gr_coop_transmit(gr_state *S, const gr_wait *what, int fd,
                         gr_coop_message *msg, int flags) {
  gr_coop_io io = {S, what, fd, POLLOUT, SO_SNDTIMEO, false, 0};
  if (gr_coop_struck(S)) return gr_coop_fail(ECONNABORTED);
  if (flags & MSG_DONTWAIT) return GR_REAL(sendmsg)(fd, &msg->m, flags);
  ssize_t n = next_piece(&io, send_piece, msg, flags);
  while (n > 0 && advance(msg, (size_t)n))
    n = next_piece(&io, send_piece, msg, flags | MSG_NOSIGNAL);
  return finish(msg, n > 0 ? 0 : n);
}

GR_EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags) {
  static const gr_wait what = {.name = "sendmsg", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(sendmsg)(fd, m, flags);
  gr_coop_set_vectors(&msg, NULL, 0);
  msg.m = *m;
  return gr_coop_transmit(S, &what, fd, &msg, flags);
}

GR_EXPORT ssize_t sendto(int fd, const void *buffer, size_t size, int flags,
                         __CONST_SOCKADDR_ARG to, socklen_t length) {
  static const gr_wait what = {.name = "sendto", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(sendto)(fd, buffer, size, flags, to, length);
  gr_coop_set_buffer(&msg, buffer, size);
  if (to.__sockaddr__) {
    msg.m.msg_name = (void *)(uintptr_t)to.__sockaddr__;
    msg.m.msg_namelen = length;
  }
  return gr_coop_transmit(S, &what, fd, &msg, flags);
}

GR_EXPORT ssize_t send(int fd, const void *buffer, size_t size, int flags) {
  static const gr_wait what = {.name = "send", .foreign = true};
  gr_state *S = gr_coop_here();
  gr_coop_message msg;
  if (!S) return GR_REAL(send)(fd, buffer, size, flags);
  gr_coop_set_buffer(&msg, buffer, size);
  return gr_coop_transmit(S, &what, fd, &msg, flags);
}
