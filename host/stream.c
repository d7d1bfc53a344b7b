#include "stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "filter.h"
#include "output.h"
#include "watch.h"

enum { STAMINA = 64 }; /* calls in a row before others have a turn */

/* --- what the streams of a hub share ------------------------------------ */

static _Thread_local gr_streams *of_thread;

/* A program may end by exit(3) in the midst of things.  What it has sent by
 * then has been sent, as far as it knows.  Not where a host owns the state: its
 * memory may be gone by then. */
__attribute__((destructor)) static void flush_at_exit(void) {
  for (gr_streams *shared = of_thread; shared; shared = shared->next)
    if (shared->gathering) gr_stream_flush(shared->gathering);
}

static void fini(gr_hub *hub) {
  gr_streams *shared = hub->streams, **link = &of_thread;
  while (*link && *link != shared) link = &(*link)->next;
  if (*link) *link = shared->next;
  while (!gr_list_empty(&shared->open))
    gr_stream_close(
        gr_container(gr_list_first(&shared->open), gr_stream, node));
  gr_linger_fini(hub);
  hub->streams = NULL;
  gr_free(shared->raw.memory);
  gr_free(shared);
}

int gr_streams_open(gr_hub *hub) {
  if (hub->streams) return 0;
  gr_streams *shared = gr_realloc(NULL, sizeof *shared + 2 * GR_STREAM_BUFFER);
  if (!shared) return -1;
  char *memory = (char *)(shared + 1);
  *shared = (gr_streams){
      .in = {.size = GR_STREAM_BUFFER, .memory = memory},
      .out = {.size = GR_STREAM_BUFFER, .memory = memory + GR_STREAM_BUFFER}};
  gr_list_init(&shared->open);
  gr_list_init(&shared->starved);
  gr_list_init(&shared->lingering);
  if (hub->at_exit) {
    shared->next = of_thread;
    of_thread = shared;
  }
  hub->streams = shared;
  hub->fini_streams = fini;
  return 0;
}

bool gr_streams_tired(gr_hub *hub, unsigned cost) {
  gr_streams *shared = hub->streams;
  gr_waiter *w = hub->current;
  if (!w) return false;
  if (w != shared->busy || w->turn != shared->turn) {
    shared->busy = w;
    shared->turn = w->turn;
    shared->calls = 0;
  }
  shared->calls += cost;
  if (shared->calls < STAMINA) return false;
  shared->calls = 0;
  return true;
}

/* --- life --------------------------------------------------------------- */

/* The callback of `reads`. */
static void on_input(struct ev_loop *loop, ev_io *w, int events) {
  gr_stream *s =
      gr_container(gr_container(w, gr_io, watcher), gr_stream, reads);
  if (s->crossed) {
    s->crossed = false;
    gr_wake_first(gr_stream_hub(s), &s->writes.waiters, GR_WOKEN);
  }
  gr_io_event(loop, w, events);
}

void gr_stream_init(gr_stream *s, gr_hub *hub, int fd) {
  *s = (gr_stream){.error = 0};
  gr_node_init(&s->node);
  gr_io_init(&s->reads, hub, -1, EV_READ, on_input);
  gr_io_init(&s->writes, hub, -1, EV_WRITE, gr_output_event);
  if (fd >= 0) gr_stream_set_fd(s, fd);
}

void gr_stream_set_fd(gr_stream *s, int fd) {
  gr_streams *shared = gr_stream_hub(s)->streams;
  if (!shared) {
    close(fd);
    return;
  }
  ev_io_set(&s->reads.watcher, fd, EV_READ);
  ev_io_set(&s->writes.watcher, fd, EV_WRITE);
  s->reads.dry = s->writes.dry = false;
  gr_list_append(&shared->open, &s->node);
}

void gr_stream_abort(gr_stream *s) {
  if (gr_stream_fd(s) < 0) return;
  gr_output_drop(s);
  if (!s->error) s->error = ECONNRESET; /* a filter writes nothing either */
  gr_stream_close(s);
}

int gr_stream_detach(gr_stream *s) {
  int fd = gr_stream_fd(s);
  gr_streams *shared = gr_stream_hub(s)->streams;
  if (fd < 0) return fd;
  gr_filter_leave(s);
  gr_output_drop(s);
  gr_node_remove(&s->node);
  gr_io_close(&s->reads);
  gr_io_close(&s->writes);
  gr_watch_closing(gr_stream_hub(s), fd);
  ev_io_set(&s->reads.watcher, -1, EV_READ);
  ev_io_set(&s->writes.watcher, -1, EV_WRITE);
  gr_buffer_release(&s->in, &shared->in);
  s->searched = 0;
  s->error = 0;
  return fd;
}

void gr_stream_close(gr_stream *s) {
  gr_hub *hub = gr_stream_hub(s);
  if (gr_stream_fd(s) < 0) return;
  gr_stream_flush(s);
  if (s->filter) gr_filter_end(s);
  bool lingers = s->draining && gr_linger(s);
  int fd = gr_stream_detach(s);
  if (!lingers) close(fd);
  gr_wake_all(hub, &hub->streams->starved, GR_WOKEN);
}

/* --- input -------------------------------------------------------------- */

ssize_t gr_stream_receive(gr_stream *s, char *to, size_t room) {
  ssize_t n;
  do n = recv(gr_stream_fd(s), to, room, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) s->reads.dry = (size_t)n < room;
  if (n >= 0) return n;
  int err = errno;
  if (err == EAGAIN) s->reads.dry = true;
  return err == ECONNABORTED ? -ECONNRESET : -err;
}

int gr_stream_fill(gr_stream *s, size_t want, bool patient) {
  gr_lender *from = &gr_stream_hub(s)->streams->in;
  size_t room;
  if (s->out.len) gr_stream_flush(s);
  if (s->filter) return gr_filter_fill(s, want, patient);
  if (patient && s->reads.dry) return -EAGAIN;
  char *to = gr_buffer_space(&s->in, from, want, &room);
  if (!to) return -ENOMEM;
  ssize_t n = gr_stream_receive(s, to, room);
  if (n > 0) s->in.len += (size_t)n;
  if (!s->in.len) gr_buffer_release(&s->in, from);
  return n > 0 ? 1 : (int)n;
}

bool gr_stream_dirty(const gr_stream *s) {
  return s->in.len || (s->filter && s->filter->more);
}

void gr_stream_skip(gr_stream *s, size_t n) {
  s->received += n;
  s->searched = 0;
  gr_buffer_skip(&s->in, &gr_stream_hub(s)->streams->in, n);
}
