#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"

extern char **environ;

static const double EVERY = 0.01; /* seconds, to look if nothing tells */

/* --- watching ----------------------------------------------------------- */

static void stop_watching(gr_child *c) {
  int fd = c->watcher.fd;
  if (c->hub) gr_alarm_clear(c->hub, &c->alarm);
  if (ev_is_active(&c->watcher)) {
    gr_hub_unwatch(c->hub);
    ev_io_stop(c->hub->loop, &c->watcher);
  }
  if (fd >= 0) close(fd);
  c->watcher.fd = -1;
}

static void free_child(gr_child *c) {
  stop_watching(c);
  gr_node_remove(&c->node);
  gr_free(c);
}

bool gr_child_look(gr_child *c) {
  pid_t pid;
  if (c->ended) return true;
  do {
    pid = waitpid(c->pid, &c->status, WNOHANG);
  } while (pid < 0 && errno == EINTR);
  if (!pid) return false;
  if (pid < 0) c->error = errno; /* others have reaped it */
  c->ended = true;
  stop_watching(c);
  return true;
}

static void tell(gr_child *c) {
  gr_wake_all(c->hub, &c->waiters, GR_WOKEN);
  if (!c->owned) free_child(c);
}

static void on_end(struct ev_loop *loop, ev_io *watcher, int events) {
  gr_child *c = gr_container(watcher, gr_child, watcher);
  (void)loop, (void)events;
  if (gr_child_look(c)) tell(c);
}

/* There is a place for it: its own, or the one that was reserved. */
static void look_later(gr_child *c) {
  gr_alarm_set(c->hub, &c->alarm, gr_hub_now(c->hub) + EVERY, true);
}

static void on_time(gr_hub *hub, gr_alarm *alarm) {
  gr_child *c = gr_container(alarm, gr_child, alarm);
  (void)hub;
  if (gr_child_look(c))
    tell(c);
  else
    look_later(c);
}

static void watch(gr_child *c) {
  int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
  if (fd < 0) {
    look_later(c);
    return;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  ev_io_set(&c->watcher, fd, EV_READ);
  ev_io_start(c->hub->loop, &c->watcher);
  gr_hub_watch(c->hub);
}

/* --- starting ----------------------------------------------------------- */

static int spawn(pid_t *pid, const char *command, int fd, int as) {
  char *argv[] = {"sh", "-c", "--", (char *)command, NULL};
  posix_spawn_file_actions_t actions;
  int err = posix_spawn_file_actions_init(&actions);
  if (err) return err;
  if (fd >= 0) err = posix_spawn_file_actions_adddup2(&actions, fd, as);
  if (!err) err = posix_spawn(pid, "/bin/sh", &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  return err;
}

gr_child *gr_child_spawn(gr_hub *hub, gr_list *all, const char *command, int fd,
                         int as) {
  gr_child *c = gr_timers_reserve(&hub->timers) ? NULL : gr_calloc(sizeof *c);
  if (!c) {
    errno = ENOMEM;
    return NULL;
  }
  int err = spawn(&c->pid, command, fd, as);
  if (err) {
    gr_free(c);
    errno = err;
    return NULL;
  }
  c->hub = hub;
  c->owned = true;
  gr_list_init(&c->waiters);
  gr_list_append(all, &c->node);
  ev_io_init(&c->watcher, on_end, -1, EV_READ);
  gr_alarm_init(&c->alarm, on_time);
  watch(c);
  return c;
}

void gr_child_join(gr_child *c) {
  siginfo_t info;
  while (!gr_child_look(c))
    waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT);
}

void gr_child_release(gr_child *c) {
  c->owned = false;
  if (gr_child_look(c) || !c->hub) free_child(c);
}

/* What is owned is freed by its owner. */
void gr_child_forget(gr_list *all) {
  gr_node *next;
  for (gr_node *n = all->next; n != all; n = next) {
    gr_child *c = gr_container(n, gr_child, node);
    next = n->next;
    stop_watching(c);
    gr_node_remove(n);
    c->hub = NULL;
    if (!c->owned) gr_free(c);
  }
}
