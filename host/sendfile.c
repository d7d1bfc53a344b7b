#include "sendfile.h"

#include <errno.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 16 << 10 }; /* what is copied at once */

/* sendfile(2) knows no MSG_NOSIGNAL, and what SIGPIPE does is for the host to
 * say: the one that the call has caused is taken away. */
static ssize_t send_quietly(int to, int from, off_t at, size_t size) {
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  ssize_t n = sendfile(to, from, &at, size);
  int err = n < 0 ? errno : 0;
  if (err == EPIPE && !sigismember(&before, SIGPIPE)) {
    const struct timespec now = {0, 0};
    while (sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
      ;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return n < 0 ? -err : n;
}

static ssize_t copy(gr_stream *s, int fd, off_t at, size_t size) {
  char buffer[PIECE];
  ssize_t n;
  do n = pread(fd, buffer, size < PIECE ? size : PIECE, at);
  while (n < 0 && errno == EINTR);
  if (n <= 0) return n < 0 ? -errno : 0;
  struct iovec piece = {buffer, (size_t)n};
  return gr_stream_write(s, &piece, 1);
}

static ssize_t send_direct(gr_stream *s, int fd, off_t at, size_t size) {
  ssize_t n;
  do n = send_quietly(gr_stream_fd(s), fd, at, size);
  while (n == -EINTR);
  if (n == -EINVAL || n == -ENOSYS) return copy(s, fd, at, size);
  if (n > 0) s->sent += (size_t)n;
  return n == -EPIPE || n == -ECONNABORTED ? -ECONNRESET : n;
}

ssize_t gr_stream_sendfile(gr_stream *s, int fd, uint64_t at, size_t size) {
  int err = gr_stream_flush(s);
  if (err) {
    if (err != -EAGAIN) s->error = 0;
    return err;
  }
  if (!size) return 0;
  return s->filter ? copy(s, fd, (off_t)at, size)
                   : send_direct(s, fd, (off_t)at, size);
}
