#include "threadpool.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"

typedef struct worker {
  gr_node node; /* among the living, or those to be joined */
  struct gr_threadpool *pool;
  pthread_t thread;
} worker;

struct gr_threadpool {
  gr_part part; /* of the hub */
  pid_t pid;    /* whose threads they are: a fork takes none along */
  pthread_mutex_t lock;
  pthread_cond_t ready; /* there is work, or it ends */
  gr_list line;         /* of work that no thread has */
  gr_list workers, ended;
  unsigned count, idle, limit;
  unsigned waiting; /* in line */
  double patience;  /* seconds until an idle thread ends */
  bool closing;
};

/* --- a thread ----------------------------------------------------------- */

static struct timespec after(double seconds) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  double whole = floor(seconds);
  t.tv_sec += (time_t)whole;
  t.tv_nsec += (long)((seconds - whole) * 1e9);
  if (t.tv_nsec >= 1000000000) {
    t.tv_nsec -= 1000000000;
    t.tv_sec++;
  }
  return t;
}

/* With the lock held: the next work, or NULL: nothing has come for so long, or
 * the hub is being closed. */
static gr_work *await_work(struct gr_threadpool *pool) {
  struct timespec until = after(pool->patience);
  int status = 0;
  pool->idle++;
  while (gr_list_empty(&pool->line) && !pool->closing && status != ETIMEDOUT)
    status = pthread_cond_timedwait(&pool->ready, &pool->lock, &until);
  pool->idle--;
  if (gr_list_empty(&pool->line)) return NULL;
  gr_work *work = gr_container(gr_list_first(&pool->line), gr_work, node);
  gr_node_remove(&work->node);
  pool->waiting--;
  return work;
}

static void on_done(gr_hub *hub, gr_post *p) {
  gr_work *work = gr_container(p, gr_work, post);
  work->done(hub, work);
}

static void *serve(void *arg) {
  worker *self = arg;
  struct gr_threadpool *pool = self->pool;
  gr_work *work;
  pthread_mutex_lock(&pool->lock);
  while ((work = await_work(pool))) {
    pthread_mutex_unlock(&pool->lock);
    work->run(work);
    gr_hub_post(work->hub, &work->post);
    pthread_mutex_lock(&pool->lock);
  }
  gr_node_remove(&self->node);
  gr_list_append(&pool->ended, &self->node);
  pool->count--;
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* --- the pool ----------------------------------------------------------- */

static void start_afresh(struct gr_threadpool *pool) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&pool->ready, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&pool->lock, NULL);
  gr_list_init(&pool->line);
  gr_list_init(&pool->workers);
  gr_list_init(&pool->ended);
  pool->count = pool->idle = pool->waiting = 0;
  pool->pid = getpid();
}

/* With the lock held, which it lets go of: wait for those who have ended. */
static void join_ended(struct gr_threadpool *pool) {
  gr_list ended;
  gr_list_init(&ended);
  gr_list_prepend_all(&ended, &pool->ended);
  pthread_mutex_unlock(&pool->lock);
  while (!gr_list_empty(&ended)) {
    worker *w = gr_container(gr_list_first(&ended), worker, node);
    gr_node_remove(&w->node);
    pthread_join(w->thread, NULL);
    gr_free(w);
  }
}

/* What no thread has begun with goes back to its owners, and so does what has
 * been done and not been told. */
static void fini(gr_hub *hub, gr_part *part) {
  struct gr_threadpool *pool = gr_container(part, struct gr_threadpool, part);
  gr_list line;
  gr_list_init(&line);
  hub->pool = NULL;
  if (pool->pid != getpid()) {
    gr_free(pool); /* what it has is the parent's */
    return;
  }
  pthread_mutex_lock(&pool->lock);
  pool->closing = true;
  gr_list_prepend_all(&line, &pool->line);
  pthread_cond_broadcast(&pool->ready);
  while (pool->count || !gr_list_empty(&pool->ended)) {
    while (!gr_list_empty(&pool->workers)) {
      worker *w = gr_container(gr_list_first(&pool->workers), worker, node);
      pthread_mutex_unlock(&pool->lock);
      pthread_join(w->thread, NULL); /* it is among the ended ones now */
      pthread_mutex_lock(&pool->lock);
      gr_node_remove(&w->node);
      gr_free(w);
    }
    join_ended(pool);
    pthread_mutex_lock(&pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  while (!gr_list_empty(&line)) {
    gr_work *work = gr_container(gr_list_first(&line), gr_work, node);
    gr_node_remove(&work->node);
    work->dropped = true;
    work->done(hub, work);
  }
  gr_hub_run_posts(hub);
  pthread_cond_destroy(&pool->ready);
  pthread_mutex_destroy(&pool->lock);
  gr_free(pool);
}

static struct gr_threadpool *pool_of(gr_hub *hub) {
  struct gr_threadpool *pool = hub->pool;
  if (pool && pool->pid == getpid()) return pool;
  if (pool) {
    gr_hub_after_fork(hub);
    start_afresh(pool);
    return pool;
  }
  pool = gr_calloc(sizeof *pool);
  if (!pool) {
    errno = ENOMEM;
    return NULL;
  }
  pool->limit = GR_POOL_THREADS;
  pool->patience = 5;
  start_afresh(pool);
  hub->pool = pool;
  gr_hub_add_part(hub, &pool->part, fini);
  return pool;
}

/* With the lock held: one thread more.  0, or -1 and errno. */
static int start(struct gr_threadpool *pool) {
  sigset_t all, before;
  worker *w = gr_calloc(sizeof *w);
  if (!w) {
    errno = ENOMEM;
    return -1;
  }
  w->pool = pool;
  gr_list_append(&pool->workers, &w->node);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int err = pthread_create(&w->thread, NULL, serve, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (err) {
    gr_node_remove(&w->node);
    gr_free(w);
    errno = err;
    return -1;
  }
  pool->count++;
  return 0;
}

int gr_work_submit(gr_hub *hub, gr_work *work) {
  struct gr_threadpool *pool = pool_of(hub);
  if (!pool) return -1;
  work->hub = hub;
  work->dropped = false;
  work->post.run = on_done;
  pthread_mutex_lock(&pool->lock);
  if (pool->waiting >= pool->idle && pool->count < pool->limit && start(pool) &&
      !pool->count) {
    pthread_mutex_unlock(&pool->lock);
    return -1;
  }
  gr_list_append(&pool->line, &work->node);
  pool->waiting++;
  pthread_cond_signal(&pool->ready);
  join_ended(pool);
  return 0;
}

bool gr_work_cancel(gr_hub *hub, gr_work *work) {
  struct gr_threadpool *pool = hub->pool;
  if (!pool || pool->pid != getpid()) return false;
  pthread_mutex_lock(&pool->lock);
  bool found = gr_node_linked(&work->node);
  if (found) {
    gr_node_remove(&work->node);
    pool->waiting--;
  }
  pthread_mutex_unlock(&pool->lock);
  return found;
}

int gr_threadpool_limit(gr_hub *hub, unsigned threads) {
  struct gr_threadpool *pool = pool_of(hub);
  if (!pool) return -1;
  if (threads < 1) threads = 1;
  if (threads > GR_POOL_MOST) threads = GR_POOL_MOST;
  pthread_mutex_lock(&pool->lock);
  pool->limit = threads;
  pthread_mutex_unlock(&pool->lock);
  return 0;
}

int gr_threadpool_patience(gr_hub *hub, double seconds) {
  struct gr_threadpool *pool = pool_of(hub);
  if (!pool) return -1;
  pthread_mutex_lock(&pool->lock);
  pool->patience = seconds;
  pthread_mutex_unlock(&pool->lock);
  return 0;
}

unsigned gr_threadpool_size(gr_hub *hub) {
  struct gr_threadpool *pool = hub->pool;
  if (!pool || pool->pid != getpid()) return 0;
  pthread_mutex_lock(&pool->lock);
  unsigned count = pool->count;
  pthread_mutex_unlock(&pool->lock);
  return count;
}
