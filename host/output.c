#include "output.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "filter.h"

enum {
  SMALL = 16 << 10, /* what is larger is not worth copying */
  PATIENCE = 30     /* seconds that a closed stream waits for its peer */
};

static ssize_t failure(int err) {
  return err == EPIPE || err == ECONNABORTED ? -ECONNRESET : -err;
}

static ssize_t put(int fd, struct iovec *pieces, int count) {
  struct msghdr m = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
  ssize_t n;
  do
    n = count == 1 ? send(fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL)
                   : sendmsg(fd, &m, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n < 0 ? failure(errno) : n;
}

/* --- gathering ---------------------------------------------------------- */

static void flush_gathering(gr_hub *hub) {
  gr_stream *s = hub->streams->gathering;
  hub->flush = NULL;
  if (s) gr_stream_flush(s);
}

static void start_gathering(gr_stream *s) {
  gr_hub *hub = gr_stream_hub(s);
  gr_streams *shared = hub->streams;
  if (shared->gathering == s) return;
  if (shared->gathering) gr_stream_flush(shared->gathering);
  shared->gathering = s;
  s->out.data = shared->out.memory;
  hub->flush = flush_gathering;
}

void gr_output_gather(gr_stream *s, const char *data, size_t size) {
  start_gathering(s);
  memcpy(s->out.data + s->out.len, data, size);
  s->out.len += size;
}

/* The output of `s` is in its own memory from now on, or is none. */
static void end_gathering(gr_stream *s) {
  gr_streams *shared = gr_stream_hub(s)->streams;
  if (shared->gathering == s) shared->gathering = NULL;
}

void gr_output_taken(gr_stream *s) {
  end_gathering(s);
  s->out = (gr_buffer){NULL, 0, NULL, 0};
}

/* --- draining ----------------------------------------------------------- */

void gr_output_drop(gr_stream *s) {
  if (s->draining) gr_stream_hub(s)->external--;
  s->draining = s->ending = false;
  end_gathering(s);
  gr_buffer_release(&s->out, &gr_stream_hub(s)->streams->out);
}

static void end(gr_stream *s) {
  bool ending = s->ending;
  gr_output_drop(s);
  if (ending) shutdown(gr_stream_fd(s), SHUT_WR);
}

static void fail(gr_stream *s, int err) {
  gr_output_drop(s);
  s->error = err;
}

static void start_draining(gr_stream *s) {
  if (gr_buffer_keep(&s->out, &gr_stream_hub(s)->streams->out)) {
    fail(s, ENOMEM);
    return;
  }
  end_gathering(s);
  s->draining = true;
  gr_stream_hub(s)->external++;
  gr_io_arm(&s->writes);
}

static int append(gr_stream *s, const char *data, size_t size) {
  gr_buffer *b = &s->out;
  size_t before = (size_t)(b->data - b->own), need = b->len + size;
  if (!b->own || need + before > b->room) {
    size_t room = need + (b->own ? need / 2 : 0);
    char *memory = gr_realloc(NULL, room);
    if (!memory) return -1;
    if (b->len) memcpy(memory, b->data, b->len);
    gr_free(b->own);
    *b = (gr_buffer){memory, b->len, memory, room};
  }
  memcpy(b->data + b->len, data, size);
  b->len += size;
  return 0;
}

void gr_output_push(gr_stream *s, const char *data, size_t size) {
  struct iovec all = {(char *)data, size};
  if (s->error) return;
  ssize_t n = s->draining ? -EAGAIN : put(gr_stream_fd(s), &all, 1);
  if (n < 0 && n != -EAGAIN) {
    fail(s, (int)-n);
    return;
  }
  size_t done = n < 0 ? 0 : (size_t)n;
  if (done == size) return;
  if (append(s, data + done, size - done))
    fail(s, ENOMEM);
  else if (!s->draining)
    start_draining(s);
}

/* `n` bytes of the output have been written. */
static void written(gr_stream *s, size_t n) {
  s->out.data += n;
  s->out.len -= n;
  if (!s->out.len) end(s);
}

/* 0: all is written; -EAGAIN; -errno: all is lost. */
static int drain(gr_stream *s) {
  struct iovec rest = {s->out.data, s->out.len};
  ssize_t n = put(gr_stream_fd(s), &rest, 1);
  if (n == -EAGAIN) return -EAGAIN;
  if (n < 0) {
    fail(s, (int)-n);
    return (int)n;
  }
  written(s, (size_t)n);
  return s->out.len ? -EAGAIN : 0;
}

void gr_output_event(struct ev_loop *loop, ev_io *w, int events) {
  gr_stream *s =
      gr_container(gr_container(w, gr_io, watcher), gr_stream, writes);
  if (s->draining && drain(s) == -EAGAIN) return;
  if (s->crossed) {
    gr_io_disarm(&s->writes);
    gr_io_arm(&s->reads);
    return;
  }
  gr_io_event(loop, w, events);
}

/* --- writing ------------------------------------------------------------ */

int gr_stream_flush(gr_stream *s) {
  if (s->draining) return -EAGAIN;
  if (!s->out.len) return s->error ? -s->error : 0;
  if (s->filter) return gr_filter_flush(s);
  int result = drain(s);
  if (result == -EAGAIN) start_draining(s);
  return s->error ? -s->error : result;
}

/* Write what has gathered, and `pieces` behind it, in one call. */
static ssize_t write_both(gr_stream *s, struct iovec *pieces, int count) {
  struct iovec all[GR_STREAM_PIECES + 1];
  size_t gathered = s->out.len;
  assert(count <= GR_STREAM_PIECES);
  all[0] = (struct iovec){s->out.data, gathered};
  memcpy(all + 1, pieces, (size_t)count * sizeof *pieces);
  ssize_t n = put(gr_stream_fd(s), all, count + 1);
  if (n < 0 && n != -EAGAIN) {
    gr_output_drop(s);
    return n;
  }
  size_t done = n < 0 ? 0 : (size_t)n;
  written(s, done < gathered ? done : gathered);
  if (s->out.len) start_draining(s);
  return done > gathered ? (ssize_t)(done - gathered) : -EAGAIN;
}

static size_t total(const struct iovec *pieces, int count) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += pieces[i].iov_len;
  return size;
}

bool gr_output_gathers(const gr_stream *s, const struct iovec *pieces,
                       int count) {
  if (s->eager || !(s->in.len || s->gathers)) return false;
  size_t size = total(pieces, count);
  return size <= SMALL && s->out.len + size <= GR_STREAM_BUFFER;
}

static ssize_t gather(gr_stream *s, const struct iovec *pieces, int count) {
  for (int i = 0; i < count; i++)
    gr_output_gather(s, pieces[i].iov_base, pieces[i].iov_len);
  return (ssize_t)total(pieces, count);
}

static ssize_t write_now(gr_stream *s, struct iovec *pieces, int count) {
  if (s->error) {
    int err = s->error;
    /* A filter's peer has missed something: there is no way on. */
    if (!s->filter) s->error = 0;
    return -err;
  }
  if (s->draining) return -EAGAIN;
  if (s->filter) return gr_filter_write(s, pieces, count);
  if (gr_output_gathers(s, pieces, count)) return gather(s, pieces, count);
  return s->out.len ? write_both(s, pieces, count)
                    : put(gr_stream_fd(s), pieces, count);
}

ssize_t gr_stream_write(gr_stream *s, struct iovec *pieces, int count) {
  ssize_t n = write_now(s, pieces, count);
  if (n > 0) s->sent += (size_t)n;
  return n;
}

/* What write_now has not taken. */
static int queue_rest(gr_stream *s, const char *data, size_t size) {
  if (s->filter) return gr_filter_push(s, data, size);
  gr_output_push(s, data, size);
  return -s->error;
}

int gr_stream_queue(gr_stream *s, struct iovec *pieces, int count) {
  ssize_t n = write_now(s, pieces, count);
  if (n < 0 && n != -EAGAIN) return (int)n;
  if (n < 0 && s->filter && s->filter->negotiating) return -EAGAIN;
  size_t done = n < 0 ? 0 : (size_t)n;
  s->sent += total(pieces, count);
  for (int i = 0; i < count; i++) {
    size_t size = pieces[i].iov_len, skip = done < size ? done : size;
    done -= skip;
    if (skip == size) continue;
    int err = queue_rest(s, (char *)pieces[i].iov_base + skip, size - skip);
    if (err) return err;
  }
  return 0;
}

int gr_stream_shutdown(gr_stream *s, int how) {
  bool ends = how != SHUT_RD;
  if (ends && s->filter) {
    gr_stream_flush(s);
    gr_filter_end(s);
    if (how == SHUT_WR) return 0;
  }
  if (ends && gr_stream_flush(s) == -EAGAIN) {
    s->ending = true;
    if (how == SHUT_WR) return 0;
    how = SHUT_RD;
  }
  return shutdown(gr_stream_fd(s), how) ? -errno : 0;
}

/* --- after the close ---------------------------------------------------- */

typedef struct lingerer {
  gr_node node;
  gr_io io;
  gr_alarm limit;
  gr_buffer out;
} lingerer;

static void bury(lingerer *l) {
  gr_hub *hub = gr_io_hub(&l->io);
  int fd = gr_io_fd(&l->io);
  gr_node_remove(&l->node);
  gr_alarm_clear(hub, &l->limit);
  gr_io_close(&l->io);
  close(fd);
  hub->external--;
  gr_free(l->out.own);
  gr_free(l);
}

static void give_up(gr_hub *hub, gr_alarm *a) {
  (void)hub;
  bury(gr_container(a, lingerer, limit));
}

static void limit(lingerer *l) {
  gr_hub *hub = gr_io_hub(&l->io);
  gr_alarm_clear(hub, &l->limit);
  /* Out of memory: then it waits for as long as the peer lives. */
  (void)gr_alarm_set(hub, &l->limit, gr_hub_now(hub) + PATIENCE, true);
}

static void on_lingering(struct ev_loop *loop, ev_io *w, int events) {
  lingerer *l = gr_container(gr_container(w, gr_io, watcher), lingerer, io);
  struct iovec rest = {l->out.data, l->out.len};
  ssize_t n = put(w->fd, &rest, 1);
  (void)loop, (void)events;
  if (n == -EAGAIN) return;
  if (n < 0 || (size_t)n == l->out.len) {
    bury(l);
    return;
  }
  l->out.data += n;
  l->out.len -= (size_t)n;
  limit(l);
}

bool gr_linger(gr_stream *s) {
  gr_hub *hub = gr_stream_hub(s);
  lingerer *l = gr_realloc(NULL, sizeof *l);
  if (!l) return false;
  int fd = gr_stream_fd(s);
  gr_io_close(&s->writes);
  l->out = s->out;
  s->out = (gr_buffer){NULL, 0, NULL, 0};
  hub->external++; /* the stream's own count ends with its draining */
  gr_io_init(&l->io, hub, fd, EV_WRITE, on_lingering);
  gr_alarm_init(&l->limit, give_up);
  gr_list_append(&hub->streams->lingering, &l->node);
  gr_io_arm(&l->io);
  limit(l);
  return true;
}

void gr_linger_fini(gr_hub *hub) {
  gr_list *all = &hub->streams->lingering;
  while (!gr_list_empty(all))
    bury(gr_container(gr_list_first(all), lingerer, node));
}
