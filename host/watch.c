#include "watch.h"

#include <fcntl.h>

static gr_hub *hub_of(const gr_watch *w) {
  return (gr_hub *)w->watcher.data;
}

static void on_event(struct ev_loop *loop, ev_io *watcher, int events) {
  gr_watch *w = gr_container(watcher, gr_watch, watcher);
  gr_hub *hub = hub_of(w);
  (void)loop;
  gr_list *waiters = w->waiters;
  if (gr_list_empty(waiters) || events & EV_ERROR) gr_watch_stop(w);
  gr_wake_first(hub, waiters, GR_WOKEN);
}

void gr_watch_init(gr_watch *w) {
  ev_init(&w->watcher, on_event);
  gr_node_init(&w->node);
}

/* An active one keeps nothing going: hub->external counts the waits. */
void gr_watch_start(gr_watch *w, gr_hub *hub, int fd, int events,
                    gr_list *waiters) {
  w->watcher.data = hub;
  w->waiters = waiters;
  ev_io_set(&w->watcher, fd, events);
  ev_io_start(hub->loop, &w->watcher);
  gr_hub_watch(hub);
  gr_list_append(&hub->fresh, &w->node);
}

void gr_watch_stop(gr_watch *w) {
  if (!ev_is_active(&w->watcher)) return;
  gr_node_remove(&w->node);
  gr_hub_unwatch(hub_of(w));
  ev_io_stop(hub_of(w)->loop, &w->watcher);
}

static void tell_closed(gr_watch *w) {
  gr_watch_stop(w);
  gr_wake_first(hub_of(w), w->waiters, GR_CLOSED);
}

static void close_in(gr_list *list, int fd) {
  gr_node *next;
  for (gr_node *n = list->next; n != list; n = next) {
    gr_watch *w = gr_container(n, gr_watch, node);
    next = n->next;
    if (w->watcher.fd == fd) tell_closed(w);
  }
}

void gr_watch_closing(gr_hub *hub, int fd) {
  close_in(&hub->watches, fd);
  close_in(&hub->fresh, fd);
}

void gr_watch_verify(gr_hub *hub) {
  while (!gr_list_empty(&hub->fresh)) {
    gr_watch *w = gr_container(gr_list_first(&hub->fresh), gr_watch, node);
    gr_node_remove(&w->node);
    gr_list_append(&hub->watches, &w->node);
    /* The loop's own would be a circle, at which libev aborts as well. */
    int fd = w->watcher.fd;
    if (fd == hub->loop_fd || fcntl(fd, F_GETFD) < 0) tell_closed(w);
  }
}
