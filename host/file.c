#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"

/* A pipe that can be written takes this much without blocking (PIPE_BUF), and a
 * read of this much is what stdio itself does. */
enum { CHUNK = 4096, ROUNDS = 16 };

/* For the end of the process: stdio flushes its streams after us. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static gr_list all = {&all, &all};
static bool ending;

static void enlist(gr_file *file) {
  pthread_mutex_lock(&lock);
  gr_list_append(&all, &file->node);
  pthread_mutex_unlock(&lock);
}

static void delist(gr_file *file) {
  pthread_mutex_lock(&lock);
  gr_node_remove(&file->node);
  pthread_mutex_unlock(&lock);
}

/* Is there a loop to come back from, and are we in its thread? */
static bool cooperates(const gr_file *file) {
  return file->hub && file->hub->loop && !ending &&
         pthread_equal(file->owner, pthread_self());
}

static bool ready(const gr_file *file, short events, int timeout) {
  struct pollfd p = {.fd = file->fd, .events = events};
  int n;
  do {
    n = poll(&p, 1, timeout);
  } while (n < 0 && errno == EINTR);
  return n != 0;
}

/* --- reading ------------------------------------------------------------ */

static size_t unread(const FILE *f) {
  return (size_t)(f->_IO_read_end - f->_IO_read_ptr);
}

static bool unbuffered(FILE *f) {
  return __fbufsize(f) == 1;
}

static int make_room(gr_file *file, size_t want) {
  if (file->kept) {
    memmove(file->in, file->in + file->kept, file->end - file->kept);
    file->next -= file->kept;
    file->end -= file->kept;
    file->kept = 0;
  }
  if (file->room - file->end >= want) return 0;
  size_t room = file->room ? file->room : CHUNK;
  while (room - file->end < want) room *= 2;
  char *in = gr_realloc(file->in, room);
  if (!in) {
    errno = ENOMEM;
    return -1;
  }
  file->in = in;
  file->room = room;
  return 0;
}

/* What the stream that we stand for has read before us; or the descriptor.  An
 * unbuffered one leaves to others what it does not need. */
static ssize_t read_some(gr_file *file, char *to, size_t n) {
  FILE *before = file->before;
  if (unbuffered(file->f)) n = 1;
  if (before && unread(before)) {
    size_t there = unread(before);
    return (ssize_t)fread(to, 1, there < n ? there : n, before);
  }
  if (file->polled && !ready(file, POLLIN, 0)) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t got;
  do {
    got = read(file->fd, to, n);
  } while (got < 0 && errno == EINTR);
  return got;
}

/* How many bytes more; 0: the end; -1 and errno. */
static ssize_t fill(gr_file *file) {
  if (make_room(file, CHUNK)) return -1;
  ssize_t n = read_some(file, file->in + file->end, CHUNK);
  if (n > 0) file->end += (size_t)n;
  return n;
}

static ssize_t fill_waiting(gr_file *file) {
  ssize_t n = fill(file);
  while (n < 0 && errno == EAGAIN) {
    if (file->guarded && cooperates(file)) {
      file->starved = true;
      errno = EAGAIN;
      return -1;
    }
    ready(file, POLLIN, -1);
    n = fill(file);
  }
  return n;
}

static ssize_t read_file(void *cookie, char *to, size_t size) {
  gr_file *file = cookie;
  if (file->next == file->end) {
    if (file->eof) {
      file->eof = false;
      return 0;
    }
    if (file->error) {
      errno = file->error;
      file->error = 0;
      return -1;
    }
    ssize_t n = fill_waiting(file);
    if (n <= 0) return n;
  }
  size_t n = file->end - file->next;
  if (n > size) n = size;
  memcpy(to, file->in + file->next, n);
  file->next += n;
  return (ssize_t)n;
}

/* All but what the stream has not given to its reader yet has been read. */
void gr_file_begin(gr_file *file) {
  file->kept = file->next - unread(file->f);
  if (file->kept == file->end) {
    file->kept = file->next = file->end = 0;
    if (file->room > 16 * CHUNK) {
      gr_free(file->in);
      file->in = NULL;
      file->room = 0;
    }
  }
  file->starved = false;
  file->guarded = true;
}

bool gr_file_starved(gr_file *file) {
  bool starved = file->starved;
  file->guarded = file->starved = false;
  if (starved) {
    clearerr(file->f);
    file->next = file->kept;
  }
  return starved;
}

bool gr_file_fill(gr_file *file, size_t *from) {
  *from = file->end - file->kept;
  ssize_t n = fill(file);
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) file->error = errno;
  if (n == 0) file->eof = true;
  return true;
}

const char *gr_file_bytes(const gr_file *file, size_t *n) {
  *n = file->end - file->kept;
  return file->in + file->kept;
}

/* --- writing ------------------------------------------------------------ */

/* -1 and EAGAIN: it takes nothing now. */
static ssize_t write_some(const gr_file *file, const char *data, size_t n) {
  if (file->polled) {
    if (!ready(file, POLLOUT, 0)) {
      errno = EAGAIN;
      return -1;
    }
    if (n > CHUNK) n = CHUNK;
  }
  ssize_t put;
  do {
    put = write(file->fd, data, n);
  } while (put < 0 && errno == EINTR);
  return put;
}

/* All of it, whatever it takes; how much that was before an error. */
static size_t write_all(const gr_file *file, const char *data, size_t n) {
  size_t done = 0;
  while (done < n) {
    ssize_t put = write_some(file, data + done, n - done);
    if (put >= 0)
      done += (size_t)put;
    else if (errno == EAGAIN)
      ready(file, POLLOUT, -1);
    else
      break;
  }
  return done;
}

static void drop_kept(gr_file *file) {
  file->sent = file->outlen = 0;
  if (file->outroom <= CHUNK) return;
  gr_free(file->out);
  file->out = NULL;
  file->outroom = 0;
}

static int keep(gr_file *file, const char *data, size_t n) {
  if (file->outroom - file->outlen < n) {
    size_t room = file->outroom ? file->outroom : CHUNK;
    while (room - file->outlen < n) room *= 2;
    char *out = gr_realloc(file->out, room);
    if (!out) return -1;
    file->out = out;
    file->outroom = room;
  }
  memcpy(file->out + file->outlen, data, n);
  file->outlen += n;
  return 0;
}

/* What is kept goes out, and whoever waits waits with us. */
static bool flush_blocking(gr_file *file) {
  size_t n = file->outlen - file->sent;
  bool good = write_all(file, file->out + file->sent, n) == n;
  drop_kept(file);
  return good;
}

/* As much as the descriptor takes without waiting. */
static size_t write_ready(const gr_file *file, const char *data, size_t n) {
  size_t done = 0;
  while (done < n) {
    ssize_t put = write_some(file, data + done, n - done);
    if (put < 0) break;
    done += (size_t)put;
    errno = EAGAIN; /* if it ends here, that is no failure */
  }
  return done;
}

static ssize_t write_file(void *cookie, const char *data, size_t n) {
  gr_file *file = cookie;
  if (!cooperates(file)) {
    if (gr_file_pending(file) && !flush_blocking(file)) return 0;
    return (ssize_t)write_all(file, data, n);
  }
  size_t done = 0;
  if (!gr_file_pending(file)) {
    done = write_ready(file, data, n);
    if (done == n || errno != EAGAIN) return (ssize_t)done;
    file->failure = 0;
  }
  if (keep(file, data + done, n - done)) {
    if (gr_file_pending(file) && !flush_blocking(file)) return (ssize_t)done;
    return (ssize_t)(done + write_all(file, data + done, n - done));
  }
  gr_io_arm(&file->writes);
  return (ssize_t)n;
}

/* --- the end ------------------------------------------------------------ */

static void free_file(gr_file *file) {
  delist(file);
  if (!file->shared) close(file->fd);
  gr_free(file->in);
  gr_free(file->out);
  gr_free(file);
}

static int close_file(void *cookie) {
  gr_file *file = cookie;
  bool live = cooperates(file);
  file->f = NULL;
  if (live) gr_io_close(&file->reads);
  if (live && gr_file_pending(file)) return 0; /* freed when that is out */
  if (gr_file_pending(file)) flush_blocking(file);
  if (live) {
    gr_io_close(&file->writes);
    gr_wake_all(file->hub, &file->drained, GR_CLOSED);
  }
  free_file(file);
  return 0;
}

/* In the loop.  Another thread may be printing to the same stream. */
static void on_writable(struct ev_loop *loop, ev_io *watcher, int events) {
  gr_file *file = gr_container(watcher, gr_file, writes.watcher);
  FILE *f = file->f;
  (void)loop, (void)events;
  if (f && ftrylockfile(f)) return;
  for (int i = 0; i < ROUNDS && gr_file_pending(file); i++) {
    ssize_t put =
        write_some(file, file->out + file->sent, file->outlen - file->sent);
    if (put >= 0) {
      file->sent += (size_t)put;
    } else {
      if (errno == EAGAIN) break;
      file->failure = errno;
      drop_kept(file);
    }
  }
  bool done = !gr_file_pending(file);
  if (done) drop_kept(file);
  if (f) funlockfile(f);
  if (!done) return;
  gr_io_disarm(&file->writes);
  gr_wake_all(file->hub, &file->drained, file->failure ? GR_CLOSED : GR_WOKEN);
  if (!f) free_file(file);
}

void gr_file_forget(gr_hub *hub) {
  gr_node *next;
  for (gr_node *n = all.next; n != &all; n = next) {
    gr_file *file = gr_container(n, gr_file, node);
    next = n->next;
    if (file->hub != hub) continue;
    gr_io_disarm(&file->reads);
    gr_io_disarm(&file->writes);
    file->hub = NULL;
    if (gr_file_pending(file)) flush_blocking(file);
    if (!file->f) free_file(file);
  }
}

/* stdio has yet to flush its buffers: what is kept was written before. */
__attribute__((destructor)) static void end_process(void) {
  ending = true;
  for (gr_node *n = all.next; n != &all; n = n->next) {
    gr_file *file = gr_container(n, gr_file, node);
    if (gr_file_pending(file)) flush_blocking(file);
  }
}

/* --- the beginning ------------------------------------------------------ */

static int seek_file(void *cookie, off64_t *offset, int whence) {
  (void)cookie, (void)offset, (void)whence;
  errno = ESPIPE;
  return -1;
}

void gr_file_inherit(gr_file *file, gr_hub *hub) {
  file->hub = hub;
  file->owner = pthread_self();
  gr_io_init(&file->reads, hub, file->fd, EV_READ, NULL);
  gr_io_init(&file->writes, hub, file->fd, EV_WRITE, on_writable);
}

gr_file *gr_file_open(gr_hub *hub, int fd, const char *mode, bool shared,
                      FILE *before) {
  static const cookie_io_functions_t functions = {read_file, write_file,
                                                  seek_file, close_file};
  gr_file *file = gr_calloc(sizeof *file);
  if (!file) {
    errno = ENOMEM;
    return NULL;
  }
  file->f = fopencookie(file, mode, functions);
  if (!file->f) {
    gr_free(file);
    return NULL;
  }
  file->f->_fileno = fd; /* for fileno(3) */
  file->before = before;
  file->fd = fd;
  file->shared = file->polled = shared;
  gr_list_init(&file->drained);
  gr_file_inherit(file, hub);
  enlist(file);
  return file;
}

void gr_file_ask_first(gr_file *file) {
  file->polled = true;
}
