/* Work for the hub's thread from others. */
#include <sys/eventfd.h>

#include "pass.h"

void gr_hub_post(gr_hub *hub, gr_post *p) {
  p->next = NULL;
  pthread_mutex_lock(&hub->lock);
  bool first = !hub->posts;
  if (first)
    __atomic_store_n(&hub->posts, p, __ATOMIC_RELEASE);
  else
    *hub->last_post = p;
  hub->last_post = &p->next;
  if (hub->loop) ev_async_send(hub->loop, &hub->async);
  if (first && hub->post_fd >= 0) (void)!eventfd_write(hub->post_fd, 1);
  pthread_mutex_unlock(&hub->lock);
}

void gr_hub_run_posts(gr_hub *hub) {
  eventfd_t n;
  if (!gr_hub_posted(hub)) return;
  pthread_mutex_lock(&hub->lock);
  gr_post *p = hub->posts;
  __atomic_store_n(&hub->posts, NULL, __ATOMIC_RELEASE);
  if (hub->post_fd >= 0) (void)!eventfd_read(hub->post_fd, &n);
  pthread_mutex_unlock(&hub->lock);
  for (gr_post *next; p; p = next) {
    next = p->next; /* run may free it */
    p->run(hub, p);
  }
}
