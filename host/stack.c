#include "stack.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif
#ifdef GR_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

#include "alloc.h"

/* The first thing on a stack, and after every switch to it. */
static void arrived(gr_stack *self);
static _Noreturn void first(gr_stack *self);

#ifdef GR_CONTEXT_UCONTEXT
#include <ucontext.h>

static _Thread_local gr_stack *starting; /* makecontext passes only ints */

static void entry(void) {
  first(starting);
}

static int prepare(gr_stack *s) {
  ucontext_t *u = gr_calloc(sizeof *u);
  if (!u) return -1;
  getcontext(u);
  u->uc_stack.ss_sp = s->base;
  u->uc_stack.ss_size = s->size;
  makecontext(u, entry, 0);
  s->place = u;
  return 0;
}

static void forget(gr_stack *s) {
  gr_free(s->place);
}

static void jump(gr_stack *from, gr_stack *to) {
  ucontext_t own, *u = from->run ? from->place : &own;
  from->place = u; /* the thread's own needs one only while it is stopped */
  starting = to;
  swapcontext(u, to->place);
}
#else
/* From libboost_context: assembly with a C ABI, but a C++ header. */
typedef struct {
  void *place; /* where the stack that jumped here stopped */
  void *data;
} transfer;
transfer jump_fcontext(void *place, void *data);
void *make_fcontext(void *top, size_t size, void (*entry)(transfer));

typedef struct {
  gr_stack *from, *to;
} passage;

static gr_stack *take(transfer t) {
  passage *p = t.data; /* on the other stack, which stands still */
  p->from->place = t.place;
  return p->to;
}

static void entry(transfer t) {
  first(take(t));
}

static int prepare(gr_stack *s) {
  s->place = make_fcontext(s->base + s->size, s->size, entry);
  return 0;
}

static void forget(gr_stack *s) {
  (void)s;
}

/* jump_fcontext is left by a jump.  Entered by a call, it would leave the
 * processor's stack of return addresses one off, and every return up to Lua's
 * interpreter would be predicted wrongly (half of the time of a switch).  So it
 * is entered by a jump, too: below the red zone, with the place to come back to
 * where a call would have pushed it. */
static inline transfer leap(void *place, void *data) {
#if defined(__x86_64__) && !defined(__SHSTK__)
  transfer t;
  __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                   "leaq 1f(%%rip), %%rax\n\t"
                   "pushq %%rax\n\t"
                   "jmp jump_fcontext\n"
                   "1:\tleaq 128(%%rsp), %%rsp"
                   : "=a"(t.place), "=d"(t.data), "+D"(place), "+S"(data)
                   :
                   : "rcx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0",
                     "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                     "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                     "xmm14", "xmm15");
  return t;
#else
  return jump_fcontext(place, data);
#endif
}

static inline void jump(gr_stack *from, gr_stack *to) {
  passage p = {from, to};
  take(leap(to->place, &p));
}
#endif

static _Noreturn void first(gr_stack *self) {
  arrived(self);
  self->run(self->arg);
  abort(); /* nobody is below */
}

static void arrived(gr_stack *self) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self->fake, NULL, NULL);
#else
  (void)self;
#endif
}

void gr_stack_switch(gr_stack *from, gr_stack *to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from->fake, to->base, to->size);
#endif
#if defined(__SANITIZE_THREAD__)
  from->fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to->fiber, 0);
#endif
  jump(from, to);
  arrived(from);
}

static size_t page(void) {
  return (size_t)sysconf(_SC_PAGESIZE);
}

/* The record of a stack lies at its own upper end, which is touched anyway. */
static size_t record(void) {
  return (sizeof(gr_stack) + 63) & ~(size_t)63;
}

gr_stack *gr_stack_open(size_t size, void (*run)(void *), void *arg) {
  size_t guard = page();
  size = (size + guard - 1) & ~(guard - 1);
  char *map =
      mmap(NULL, guard + size, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (map == MAP_FAILED) return NULL;
  gr_stack *s = (gr_stack *)(void *)(map + guard + size - record());
  if (mprotect(map, guard, PROT_NONE)) goto fail; /* too many mappings */
  memset(s, 0, sizeof *s);
  s->run = run;
  s->arg = arg;
  s->base = map + guard;
  s->size = size - record();
  gr_node_init(&s->node);
  if (prepare(s)) goto fail;
#if defined(__SANITIZE_THREAD__)
  s->fiber = __tsan_create_fiber(0);
#endif
#ifdef GR_HAVE_VALGRIND
  s->id = VALGRIND_STACK_REGISTER(s->base, s->base + s->size);
#endif
  return s;
fail:
  munmap(map, guard + size);
  return NULL;
}

void gr_stack_close(gr_stack *s) {
  size_t guard = page();
  char *map = s->base - guard;
  size_t size = guard + s->size + record();
#ifdef GR_HAVE_VALGRIND
  VALGRIND_STACK_DEREGISTER(s->id);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(s->fiber);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(s->base, s->size);
#endif
  forget(s);
  munmap(map, size);
}

void gr_stack_adopt(gr_stack *s) {
  memset(s, 0, sizeof *s);
  gr_node_init(&s->node);
#if defined(__SANITIZE_ADDRESS__)
  pthread_attr_t attr;
  void *low = NULL;
  if (!pthread_getattr_np(pthread_self(), &attr)) {
    pthread_attr_getstack(&attr, &low, &s->size);
    pthread_attr_destroy(&attr);
  }
  s->base = low;
#endif
}
