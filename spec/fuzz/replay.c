/* Runs inputs that are kept, without libFuzzer:
 *
 *     fuzz --target=NAME FILE or DIRECTORY...
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const char *running = "nothing yet";
static unsigned count;

static _Noreturn void fail(const char *path) {
  fprintf(stderr, "%s: %s\n", path, strerror(errno));
  exit(1);
}

static void run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail(path);
  size_t size = (size_t)ftell(file);
  uint8_t *data = malloc(size + 1);
  rewind(file);
  if (!data || fread(data, 1, size, file) != size) fail(path);
  fclose(file);
  running = path;
  LLVMFuzzerTestOneInput(data, size);
  free(data);
  count++;
}

static int visible(const struct dirent *e) {
  return e->d_name[0] != '.';
}

static void run(const char *path) {
  struct dirent **list;
  int n = scandir(path, &list, visible, alphasort);
  if (n < 0 && errno == ENOTDIR) {
    run_file(path);
    return;
  }
  if (n < 0) fail(path);
  for (int i = 0; i < n; i++) {
    char below[1024];
    snprintf(below, sizeof below, "%s/%s", path, list[i]->d_name);
    free(list[i]);
    run(below);
  }
  free(list);
}

/* Whoever aborts, or exits in the midst of it. */
static void tell(void) {
  if (running) fprintf(stderr, "the input was %s\n", running);
}

static void on_abort(int signal) {
  (void)signal;
  tell();
}

int main(int argc, char **argv) {
  atexit(tell);
  signal(SIGABRT, on_abort);
  LLVMFuzzerInitialize(&argc, &argv);
  for (int i = 1; i < argc; i++)
    if (argv[i][0] != '-') run(argv[i]);
  fuzz_finish();
  running = NULL;
  printf("%u inputs\n", count);
  return count == 0; /* none is a mistake */
}
