/* Streams of stdio that never block, and children. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "check.h"
#include "child.h"

static gr_hub hub;
static gr_waiter me;
static int ends[2]; /* of a pipe: to read, to write */

static void turn(void) {
  hub.current = NULL;
  ev_run(hub.loop, EVRUN_NOWAIT);
  hub.current = &me;
}

static gr_file *open_end(int which, bool shared) {
  CHECK(!pipe2(ends, O_CLOEXEC));
  if (!shared) fcntl(ends[which], F_SETFL, O_NONBLOCK);
  return gr_file_open(&hub, ends[which], which ? "w" : "r", shared, NULL);
}

static void put(const char *text) {
  CHECK(write(ends[1], text, strlen(text)) == (ssize_t)strlen(text));
}

/* Read a line as one operation; NULL: it has starved. */
static const char *get_line(gr_file *file) {
  static char line[100];
  gr_file_begin(file);
  char *got = fgets(line, sizeof line, file->f);
  if (gr_file_starved(file)) return NULL;
  return got ? line : "(end)";
}

/* --- reading ------------------------------------------------------------ */

static void reads_again_what_an_operation_has_read_in_vain(bool shared) {
  gr_file *file = open_end(0, shared);
  size_t from, n;
  CHECK(!get_line(file));
  CHECK(!gr_file_fill(file, &from));
  put("one\ntw");
  CHECK(!strcmp(get_line(file), "one\n"));
  CHECK(!get_line(file));
  CHECK(!get_line(file));
  gr_file_bytes(file, &n);
  CHECK(n == 2);
  put("o\nthree");
  CHECK(gr_file_fill(file, &from) && from == 2);
  CHECK(!strcmp(get_line(file), "two\n"));
  CHECK(!get_line(file));
  close(ends[1]);
  CHECK(!strcmp(get_line(file), "three"));
  CHECK(!strcmp(get_line(file), "(end)"));
  if (shared) close(ends[0]);
  fclose(file->f);
}

static void puts_back_what_a_large_operation_has_read(void) {
  static char bytes[60000];
  gr_file *file = open_end(0, false);
  memset(bytes, 'x', sizeof bytes);
  CHECK(write(ends[1], bytes, sizeof bytes) == sizeof bytes);
  gr_file_begin(file);
  CHECK(fread(bytes, 1, 10, file->f) == 10 && !gr_file_starved(file));
  gr_file_begin(file);
  fread(bytes, 1, sizeof bytes, file->f);
  CHECK(gr_file_starved(file));
  close(ends[1]);
  gr_file_begin(file);
  CHECK(fread(bytes, 1, sizeof bytes, file->f) == sizeof bytes - 10);
  CHECK(!gr_file_starved(file));
  fclose(file->f);
}

static void gives_what_the_stream_before_it_has_read(void) {
  gr_file *first = open_end(0, true);
  FILE *before = fdopen(ends[0], "r");
  fclose(first->f);
  put("one\ntwo\n");
  char line[10];
  CHECK(fgets(line, sizeof line, before));
  gr_file *file = gr_file_open(&hub, ends[0], "r", true, before);
  CHECK(!strcmp(get_line(file), "two\n"));
  put("three\n");
  CHECK(!strcmp(get_line(file), "three\n"));
  fclose(file->f);
  fclose(before);
  close(ends[1]);
}

/* --- writing ------------------------------------------------------------ */

static const size_t MUCH = 300000;

static void write_much(gr_file *file) {
  for (size_t i = 0; i < MUCH; i++)
    CHECK(fputc("0123456789"[i % 10], file -> f) > 0);
  CHECK(!fflush(file->f));
}

/* Read what is there, and have it be right. */
static size_t take(size_t at) {
  static char bytes[5000];
  ssize_t n = read(ends[0], bytes, sizeof bytes);
  for (ssize_t i = 0; i < n; i++)
    CHECK(bytes[i] == "0123456789"[(at + (size_t)i) % 10]);
  return n > 0 ? (size_t)n : 0;
}

static void keeps_what_is_not_taken_and_sends_it_from_the_loop(bool shared) {
  gr_file *file = open_end(1, shared);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  write_much(file);
  CHECK(gr_file_pending(file));
  size_t got = 0;
  for (int i = 0; i < 10000 && gr_file_pending(file); i++) {
    got += take(got);
    turn();
  }
  CHECK(!gr_file_pending(file) && !ev_is_active(&file->writes.watcher));
  for (size_t n; (n = take(got));) got += n;
  CHECK(got == MUCH);
  if (shared) close(ends[1]);
  fclose(file->f);
  close(ends[0]);
}

static void sends_what_it_keeps_after_it_is_closed(void) {
  gr_file *file = open_end(1, false);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  write_much(file);
  CHECK(!fclose(file->f));
  size_t got = 0;
  for (int i = 0; i < 10000 && got < MUCH; i++) {
    got += take(got);
    turn();
  }
  CHECK(got == MUCH);
  CHECK(fcntl(ends[1], F_GETFD) == -1 && errno == EBADF); /* now it is */
  close(ends[0]);
}

static void tells_of_a_failure(void) {
  gr_file *file = open_end(1, false);
  write_much(file);
  close(ends[0]);
  turn();
  CHECK(!gr_file_pending(file) && file->failure == EPIPE);
  CHECK(fputc('x', file->f) > 0 && fflush(file->f) && errno == EPIPE);
  fclose(file->f);
}

static void blocks_when_its_hub_has_gone(void) {
  gr_hub other;
  CHECK(!gr_hub_init(&other, NULL));
  CHECK(!pipe2(ends, O_CLOEXEC));
  gr_file *file = gr_file_open(&other, ends[1], "w", true, NULL);
  gr_file_forget(&other);
  gr_hub_fini(&other);
  CHECK(fputs("text", file->f) > 0 && !fflush(file->f));
  CHECK(!gr_file_pending(file));
  fclose(file->f);
  close(ends[1]);
  char text[8];
  CHECK(read(ends[0], text, sizeof text) == 4);
  close(ends[0]);
}

static void fails_for_want_of_memory(void) {
  if (gr_alloc_fail(1) < 0) return;
  CHECK(!gr_file_open(&hub, 0, "r", true, NULL) && errno == ENOMEM);
  gr_alloc_fail(0);
  gr_file *file = open_end(0, false);
  put("text\n");
  gr_alloc_fail(1);
  gr_file_begin(file);
  CHECK(fgetc(file->f) == EOF && errno == ENOMEM && !gr_file_starved(file));
  gr_alloc_fail(0);
  clearerr(file->f);
  CHECK(!strcmp(get_line(file), "text\n"));
  fclose(file->f);
  close(ends[1]);
}

/* --- children ----------------------------------------------------------- */

static gr_list children = {&children, &children};

static void await(gr_list *none) {
  for (int i = 0; i < 60000 && !gr_list_empty(none); i++) {
    turn();
    usleep(1000);
  }
  CHECK(gr_list_empty(none));
}

static void tells_how_a_child_has_ended(void) {
  gr_child *c = gr_child_spawn(&hub, &children, "exit 3", -1, -1);
  gr_child_join(c);
  CHECK(gr_child_look(c) && WEXITSTATUS(c->status) == 3 && !c->error);
  gr_child_release(c);
  CHECK(gr_list_empty(&children));
}

static void reaps_a_child_that_nobody_waits_for(void) {
  CHECK(!pipe2(ends, O_CLOEXEC));
  gr_child *c = gr_child_spawn(&hub, &children, "read x", ends[0], 0);
  close(ends[0]);
  pid_t pid = c->pid;
  gr_child_release(c);
  CHECK(!gr_list_empty(&children));
  close(ends[1]);
  await(&children);
  CHECK(waitpid(pid, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void knows_that_others_have_reaped_a_child(void) {
  gr_child *c = gr_child_spawn(&hub, &children, "exit 3", -1, -1);
  CHECK(waitpid(c->pid, NULL, 0) == c->pid);
  CHECK(gr_child_look(c) && c->error == ECHILD);
  gr_child_release(c);
}

static void is_forgotten_with_its_hub(void) {
  CHECK(!pipe2(ends, O_CLOEXEC));
  gr_child *mine = gr_child_spawn(&hub, &children, "read x", ends[0], 0);
  gr_child *other = gr_child_spawn(&hub, &children, "read x", ends[0], 0);
  gr_child_release(other);
  gr_child_forget(&children);
  CHECK(gr_list_empty(&children));
  gr_child_release(mine);
  close(ends[0]);
  close(ends[1]);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  CHECK(!gr_hub_init(&hub, NULL));
  gr_waiter_init(&me);
  me.state = GR_RUNNING;
  hub.current = &me;
  reads_again_what_an_operation_has_read_in_vain(false);
  reads_again_what_an_operation_has_read_in_vain(true);
  puts_back_what_a_large_operation_has_read();
  gives_what_the_stream_before_it_has_read();
  keeps_what_is_not_taken_and_sends_it_from_the_loop(false);
  keeps_what_is_not_taken_and_sends_it_from_the_loop(true);
  sends_what_it_keeps_after_it_is_closed();
  tells_of_a_failure();
  blocks_when_its_hub_has_gone();
  fails_for_want_of_memory();
  tells_how_a_child_has_ended();
  reaps_a_child_that_nobody_waits_for();
  knows_that_others_have_reaped_a_child();
  is_forgotten_with_its_hub();
  gr_hub_fini(&hub);
  puts("file_test: all good");
  return 0;
}
