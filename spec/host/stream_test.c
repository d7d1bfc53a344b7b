/* The Lua-free ring of the sockets: buffers, watchers, streams. */
#undef NDEBUG
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gr_hub hub;
static gr_waiter me;

static void run(gr_hub *h, gr_waiter *w) {
  (void)h, (void)w;
}

static void turn(void) {
  hub.current = NULL;
  ev_run(hub.loop, EVRUN_NOWAIT);
  hub.current = &me;
}

static void open_pair(gr_stream *a, gr_stream *b) {
  int fds[2], type = SOCK_STREAM | SOCK_NONBLOCK;
  assert(!socketpair(AF_UNIX, type, 0, fds));
  gr_stream_init(a, &hub, fds[0]);
  gr_stream_init(b, &hub, fds[1]);
}

static ssize_t put(gr_stream *s, const char *text) {
  struct iovec piece = {(char *)text, strlen(text)};
  return gr_stream_write(s, &piece, 1);
}

static bool holds(const gr_stream *s, const char *text) {
  return s->in.len == strlen(text) && !memcmp(s->in.data, text, s->in.len);
}

static void close_pair(gr_stream *a, gr_stream *b) {
  gr_stream_close(a);
  gr_stream_close(b);
}

/* --- buffers ------------------------------------------------------------ */

static void lends_its_memory_and_moves_what_is_left(void) {
  char memory[16];
  size_t room;
  gr_lender lender = {NULL, sizeof memory, memory};
  gr_buffer a = {NULL, 0, NULL, 0}, b = a;
  char *to = gr_buffer_space(&a, &lender, 0, &room);
  assert(to == memory && room == 16);
  memcpy(to, "abcd", 4);
  a.len = 4;
  gr_buffer_skip(&a, &lender, 1);
  assert(a.data == memory + 1 && !a.own);
  assert(gr_buffer_space(&b, &lender, 0, &room) == memory);
  assert(a.own && a.len == 3 && !memcmp(a.data, "bcd", 3));
  gr_buffer_skip(&a, &lender, 3);
  assert(!a.own && !a.data);
  gr_buffer_fini(&b, &lender);
  assert(!lender.borrower);
}

static void grows_as_it_fills(void) {
  char memory[16];
  size_t room, total = 0;
  gr_lender lender = {NULL, sizeof memory, memory};
  gr_buffer b = {NULL, 0, NULL, 0};
  for (int i = 0; i < 40; i++) {
    char *to = gr_buffer_space(&b, &lender, 0, &room);
    assert(to && room);
    *to = (char)i;
    b.len++;
    total++;
  }
  for (int i = 0; i < 40; i++) assert(b.data[i] == i);
  gr_buffer_fini(&b, &lender);
}

static void makes_room_for_a_wish_bit_by_bit(void) {
  char memory[16];
  size_t room;
  gr_lender lender = {NULL, sizeof memory, memory};
  gr_buffer b = {NULL, 0, NULL, 0};
  assert(gr_buffer_space(&b, &lender, 50, &room) && room == 50);
  assert(gr_buffer_space(&b, &lender, (size_t)1 << 60, &room));
  assert(room >= 50 && room < 1000);
  gr_buffer_fini(&b, &lender);
}

/* --- input -------------------------------------------------------------- */

static void waits_first_after_a_short_read(void) {
  gr_stream a, b;
  open_pair(&a, &b);
  assert(gr_stream_fill(&a, 0, true) == -EAGAIN);
  assert(put(&b, "hello") == 5);
  assert(gr_stream_fill(&a, 0, true) == -EAGAIN); /* it knew */
  assert(gr_stream_fill(&a, 0, false) == 1 && holds(&a, "hello"));
  gr_stream_skip(&a, 2);
  assert(holds(&a, "llo") && a.received == 2);
  close_pair(&a, &b);
}

static void an_event_says_that_it_is_worth_reading(void) {
  gr_stream a, b;
  open_pair(&a, &b);
  assert(gr_stream_fill(&a, 0, true) == -EAGAIN);
  gr_io_arm(&a.reads);
  put(&b, "x");
  turn();
  assert(!a.reads.dry);
  assert(!ev_is_active(&a.reads.watcher)); /* nobody waited */
  assert(gr_stream_fill(&a, 0, true) == 1);
  close_pair(&a, &b);
}

static void shares_memory_between_streams(void) {
  gr_stream a, b, c, d;
  open_pair(&a, &b);
  open_pair(&c, &d);
  put(&b, "for a");
  put(&d, "for c");
  assert(gr_stream_fill(&a, 0, true) == 1 && !a.in.own);
  assert(gr_stream_fill(&c, 0, true) == 1 && !c.in.own);
  assert(holds(&a, "for a") && a.in.own);
  assert(holds(&c, "for c"));
  gr_stream_skip(&a, 5);
  assert(!a.in.own);
  close_pair(&a, &b);
  close_pair(&c, &d);
}

static void sees_the_end(void) {
  gr_stream a, b;
  open_pair(&a, &b);
  put(&b, "bye");
  assert(gr_stream_shutdown(&b, SHUT_WR) == 0);
  assert(gr_stream_fill(&a, 0, true) == 1);
  assert(gr_stream_fill(&a, 0, false) == 0);
  assert(holds(&a, "bye"));
  gr_stream_skip(&a, 3);
  assert(put(&a, "half") == 4 && gr_stream_fill(&b, 0, true) == 1);
  close_pair(&a, &b);
}

/* --- output ------------------------------------------------------------- */

/* `a` has more input, so what it writes gathers. */
static void pipeline(gr_stream *a, gr_stream *b) {
  open_pair(a, b);
  put(b, "requests");
  assert(gr_stream_fill(a, 0, true) == 1);
}

static void gathers_while_input_is_buffered(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  assert(put(&a, "one ") == 4 && put(&a, "two ") == 4);
  assert(gr_stream_fill(&b, 0, false) == -EAGAIN);
  gr_stream_skip(&a, a.in.len);
  assert(put(&a, "three") == 5); /* the input has run dry */
  assert(gr_stream_fill(&b, 0, false) == 1 && holds(&b, "one two three"));
  assert(!a.out.len && !hub.streams->gathering && a.sent == 13);
  close_pair(&a, &b);
}

static void lets_it_go_before_the_loop_is_polled(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  put(&a, "reply");
  turn();
  assert(gr_stream_fill(&b, 0, false) == 1 && holds(&b, "reply"));
  close_pair(&a, &b);
}

static void lets_it_go_before_it_reads_and_when_another_gathers(void) {
  gr_stream a, b, c, d;
  pipeline(&a, &b);
  pipeline(&c, &d);
  put(&a, "reply");
  put(&c, "another");
  assert(gr_stream_fill(&b, 0, false) == 1 && holds(&b, "reply"));
  assert(gr_stream_fill(&d, 0, false) == -EAGAIN);
  gr_stream_fill(&c, 0, true);
  assert(gr_stream_fill(&d, 0, false) == 1 && holds(&d, "another"));
  close_pair(&a, &b);
  close_pair(&c, &d);
}

static void lets_it_go_at_the_close(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  put(&a, "last");
  gr_stream_close(&a);
  assert(gr_stream_fill(&b, 0, false) == 1 && holds(&b, "last"));
  assert(gr_stream_fill(&b, 0, false) == 0);
  close_pair(&a, &b);
}

static void an_eager_one_never_gathers(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  a.eager = true;
  put(&a, "now");
  assert(gr_stream_fill(&b, 0, false) == 1 && holds(&b, "now"));
  close_pair(&a, &b);
}

/* Write until neither the kernel nor the stream takes more; what was taken
 * counts up from 0, a byte each. */
static size_t stuff(gr_stream *s) {
  unsigned char bytes[1000];
  size_t total = 0;
  for (;;) {
    for (size_t i = 0; i < sizeof bytes; i++)
      bytes[i] = (unsigned char)((total + i) % 251);
    struct iovec piece = {bytes, sizeof bytes};
    ssize_t n = gr_stream_write(s, &piece, 1);
    if (n == -EAGAIN) return total;
    assert(n > 0);
    total += (size_t)n;
  }
}

/* Read all there is, as it comes; the bytes go on from `at`. */
static size_t swallow(gr_stream *s, size_t at) {
  int got;
  for (int idle = 0; idle < 3;) {
    while ((got = gr_stream_fill(s, 0, false)) == 1) {
      for (size_t i = 0; i < s->in.len; i++, at++)
        assert((unsigned char)s->in.data[i] == at % 251);
      gr_stream_skip(s, s->in.len);
      idle = 0;
    }
    if (got == 0) return at;
    turn();
    idle++;
  }
  return at;
}

static void drains_in_order_and_holds_writers_back(void) {
  gr_stream a, b;
  unsigned before = hub.external;
  pipeline(&a, &b);
  size_t total = stuff(&a);
  assert(a.draining && hub.external == before + 1 && !hub.streams->gathering);
  assert(put(&a, "x") == -EAGAIN && gr_stream_flush(&a) == -EAGAIN);
  assert(swallow(&b, 0) == total);
  assert(!a.draining && !a.out.len && hub.external == before);
  close_pair(&a, &b);
}

static void shuts_down_behind_what_drains(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  size_t total = stuff(&a);
  assert(gr_stream_shutdown(&a, SHUT_WR) == 0);
  assert(swallow(&b, 0) == total);
  assert(gr_stream_fill(&b, 0, false) == 0);
  close_pair(&a, &b);
}

static void writes_the_rest_after_the_close(void) {
  gr_stream a, b;
  unsigned before = hub.external;
  pipeline(&a, &b);
  size_t total = stuff(&a);
  gr_stream_close(&a);
  assert(hub.external == before + 1 && gr_stream_fd(&a) < 0);
  assert(swallow(&b, 0) == total);
  assert(gr_stream_fill(&b, 0, false) == 0);
  assert(hub.external == before && gr_list_empty(&hub.streams->lingering));
  close_pair(&a, &b);
}

static void forgets_the_rest_when_the_peer_has_gone(void) {
  gr_stream a, b;
  unsigned before = hub.external;
  pipeline(&a, &b);
  stuff(&a);
  gr_stream_close(&b);
  turn();
  assert(!a.draining && hub.external == before);
  assert(put(&a, "x") == -ECONNRESET);
  close_pair(&a, &b);
}

static void tells_of_a_late_failure_in_the_next_write(void) {
  gr_stream a, b;
  pipeline(&a, &b);
  gr_stream_close(&b);
  assert(put(&a, "gathers") == 7);
  turn();
  assert(put(&a, "x") == -ECONNRESET);
  close_pair(&a, &b);
}

/* --- waiters ------------------------------------------------------------ */

static void wakes_and_stays_armed(void) {
  gr_stream a, b;
  static const gr_wait what = {.name = "a test"};
  open_pair(&a, &b);
  gr_io_await(&a.reads);
  gr_park_waiter(&hub, &what, true);
  assert(gr_io_waiter(&a.reads) == &me && hub.external);
  put(&b, "x");
  turn();
  assert(me.status == GR_WOKEN && !hub.external);
  assert(ev_is_active(&a.reads.watcher));
  gr_node_remove(&me.node);
  me.state = GR_RUNNING;
  gr_io_await(&a.reads);
  gr_park_waiter(&hub, &what, true);
  gr_stream_close(&a);
  assert(me.status == GR_CLOSED && !ev_is_active(&a.reads.watcher));
  gr_node_remove(&me.node);
  me.state = GR_RUNNING;
  gr_stream_close(&b);
}

static void tires_of_one_that_never_parks(void) {
  unsigned calls = 1;
  while (!gr_streams_tired(&hub, 1)) calls++;
  assert(calls > 8);
  assert(!gr_streams_tired(&hub, 1));
  me.turn++; /* as parking does */
  for (unsigned i = 1; i < calls; i++) assert(!gr_streams_tired(&hub, 1));
}

static void closes_all_with_its_hub(void) {
  gr_stream a, b, c, d;
  open_pair(&a, &b);
  pipeline(&c, &d);
  stuff(&c);
  gr_stream_close(&c); /* lingers */
  int fd = gr_stream_fd(&a);
  gr_hub_fini(&hub);
  assert(gr_stream_fd(&a) < 0 && fcntl(fd, F_GETFD) < 0);
  gr_stream_close(&a);
}

int main(void) {
  assert(!gr_hub_init(&hub, NULL));
  hub.resume = run;
  gr_waiter_init(&me);
  me.state = GR_RUNNING;
  hub.current = &me;
  assert(!gr_streams_open(&hub));
  lends_its_memory_and_moves_what_is_left();
  grows_as_it_fills();
  makes_room_for_a_wish_bit_by_bit();
  waits_first_after_a_short_read();
  an_event_says_that_it_is_worth_reading();
  shares_memory_between_streams();
  sees_the_end();
  gathers_while_input_is_buffered();
  lets_it_go_before_the_loop_is_polled();
  lets_it_go_before_it_reads_and_when_another_gathers();
  lets_it_go_at_the_close();
  an_eager_one_never_gathers();
  drains_in_order_and_holds_writers_back();
  shuts_down_behind_what_drains();
  writes_the_rest_after_the_close();
  forgets_the_rest_when_the_peer_has_gone();
  tells_of_a_late_failure_in_the_next_write();
  wakes_and_stays_armed();
  tires_of_one_that_never_parks();
  closes_all_with_its_hub();
  puts("ok");
  return 0;
}
