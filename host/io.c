#include "io.h"

void gr_io_init(gr_io *io, gr_hub *hub, int fd, int events,
                gr_io_callback *call) {
  ev_io_init(&io->watcher, call ? call : gr_io_event, fd, events);
  io->watcher.data = hub;
  gr_list_init(&io->waiters);
  io->dry = false;
}

void gr_io_event(struct ev_loop *loop, ev_io *w, int events) {
  gr_io *io = gr_container(w, gr_io, watcher);
  (void)loop;
  io->dry = false;
  if (gr_list_empty(&io->waiters) || events & EV_ERROR) gr_io_disarm(io);
  gr_wake_first(gr_io_hub(io), &io->waiters, GR_WOKEN);
}

void gr_io_arm(gr_io *io) {
  struct ev_loop *loop = gr_io_hub(io)->loop;
  if (ev_is_active(&io->watcher)) return;
  ev_io_start(loop, &io->watcher);
  gr_hub_watch(gr_io_hub(io));
}

void gr_io_disarm(gr_io *io) {
  struct ev_loop *loop = gr_io_hub(io)->loop;
  if (!ev_is_active(&io->watcher)) return;
  gr_hub_unwatch(gr_io_hub(io));
  ev_io_stop(loop, &io->watcher);
}

void gr_io_await(gr_io *io) {
  gr_io_arm(io);
  gr_list_append(&io->waiters, &gr_io_hub(io)->current->node);
}

void gr_io_close(gr_io *io) {
  gr_io_disarm(io);
  gr_wake_all(gr_io_hub(io), &io->waiters, GR_CLOSED);
}
