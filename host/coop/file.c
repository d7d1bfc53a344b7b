/* read, readv, write and writev, which are for sockets, pipes and all else. */
#include <limits.h>
#include <sys/stat.h>

#include "io.h"
#include "real.h"
#include "watch.h"

enum kind { SOCKET, PIPE, READABLE, OTHER };

static enum kind kind_of(int fd) {
  struct stat s;
  if (fstat(fd, &s)) return OTHER;
  if (S_ISSOCK(s.st_mode)) return SOCKET;
  if (S_ISFIFO(s.st_mode)) return PIPE;
  if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode) || S_ISBLK(s.st_mode))
    return OTHER;
  return READABLE; /* terminals, eventfds … */
}

/* --- reading ------------------------------------------------------------ */

/* May the real one be called?  It finds something, unless others that have the
 * descriptor, too, are faster; or it is not to be waited for.  If not, errno is
 * set. */
static bool await_ready(gr_state *S, const gr_wait *what, int fd,
                        short events) {
  gr_coop_io io = {.S = S, .what = what, .fd = fd, .events = events};
  if (!gr_coop_blocks(fd)) return true;
  if (gr_coop_io_ready(&io) != GR_COOP_STRUCK) return true;
  errno = ECANCELED;
  return false;
}

GR_EXPORT ssize_t read(int fd, void *buffer, size_t size) {
  static const gr_wait what = {.name = "read", .foreign = true};
  gr_state *S = gr_coop_here();
  enum kind kind = S && size ? kind_of(fd) : OTHER;
  if (kind == SOCKET) {
    gr_coop_message msg;
    gr_coop_set_buffer(&msg, buffer, size);
    return gr_coop_receive(S, &what, fd, &msg, 0, NULL);
  }
  if (kind != OTHER && !await_ready(S, &what, fd, POLLIN)) return -1;
  return GR_REAL(read)(fd, buffer, size);
}

GR_EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room) {
  if (!gr_coop_here() || size > room)
    return GR_REAL(__read_chk)(fd, buffer, size, room);
  return read(fd, buffer, size);
}

GR_EXPORT ssize_t readv(int fd, const struct iovec *of, int n) {
  static const gr_wait what = {.name = "readv", .foreign = true};
  gr_state *S = gr_coop_here();
  enum kind kind = S && n > 0 && n <= IOV_MAX ? kind_of(fd) : OTHER;
  if (kind == SOCKET) {
    gr_coop_message msg;
    gr_coop_set_vectors(&msg, of, (size_t)n);
    return gr_coop_receive(S, &what, fd, &msg, 0, NULL);
  }
  if (kind != OTHER && !await_ready(S, &what, fd, POLLIN)) return -1;
  return GR_REAL(readv)(fd, of, n);
}

/* --- writing ------------------------------------------------------------ */

/* A pipe that poll says can be written to takes PIPE_BUF bytes at once; of more
 * it would wait for the rest. */
static ssize_t write_pipe(gr_state *S, const gr_wait *what, int fd,
                          const char *data, size_t size) {
  size_t done = 0;
  if (!gr_coop_blocks(fd)) return GR_REAL(write)(fd, data, size);
  while (done < size) {
    size_t n = size - done < PIPE_BUF ? size - done : PIPE_BUF;
    ssize_t gone = -1;
    if (await_ready(S, what, fd, POLLOUT))
      gone = GR_REAL(write)(fd, data + done, n);
    if (gone < 0) return done ? (ssize_t)done : -1;
    done += (size_t)gone;
  }
  return (ssize_t)done;
}

GR_EXPORT ssize_t write(int fd, const void *data, size_t size) {
  static const gr_wait what = {.name = "write", .foreign = true};
  gr_state *S = gr_coop_here();
  enum kind kind = S && size ? kind_of(fd) : OTHER;
  if (kind == SOCKET) {
    gr_coop_message msg;
    gr_coop_set_buffer(&msg, data, size);
    return gr_coop_transmit(S, &what, fd, &msg, 0);
  }
  if (kind == PIPE) return write_pipe(S, &what, fd, data, size);
  return GR_REAL(write)(fd, data, size);
}

/* Up to PIPE_BUF bytes go into a pipe as one. */
static ssize_t writev_pipe(gr_state *S, const gr_wait *what, int fd,
                           const struct iovec *of, int n) {
  size_t size = 0, done = 0;
  for (int i = 0; i < n; i++) size += of[i].iov_len;
  if (size <= PIPE_BUF) {
    if (!await_ready(S, what, fd, POLLOUT)) return -1;
    return GR_REAL(writev)(fd, of, n);
  }
  for (int i = 0; i < n; i++) {
    if (!of[i].iov_len) continue;
    ssize_t gone = write_pipe(S, what, fd, of[i].iov_base, of[i].iov_len);
    if (gone < 0) return done ? (ssize_t)done : -1;
    done += (size_t)gone;
    if ((size_t)gone < of[i].iov_len) break;
  }
  return (ssize_t)done;
}

GR_EXPORT ssize_t writev(int fd, const struct iovec *of, int n) {
  static const gr_wait what = {.name = "writev", .foreign = true};
  gr_state *S = gr_coop_here();
  enum kind kind = S && n > 0 && n <= IOV_MAX ? kind_of(fd) : OTHER;
  if (kind == SOCKET) {
    gr_coop_message msg;
    gr_coop_set_vectors(&msg, of, (size_t)n);
    return gr_coop_transmit(S, &what, fd, &msg, 0);
  }
  if (kind == PIPE && gr_coop_blocks(fd))
    return writev_pipe(S, &what, fd, of, n);
  return GR_REAL(writev)(fd, of, n);
}

/* --- closing ------------------------------------------------------------ */

/* The loop knows descriptors by their numbers, and the next one may get this.
 */
GR_EXPORT int close(int fd) {
  if (gr_coop_state) gr_watch_closing(&gr_coop_state->hub, fd);
  return GR_REAL(close)(fd);
}
