/* A game: 60 frames a second, thousands of scripted characters.
 *
 *     embed_game [characters [frames [script]]]     5000, 300, embed_game.lua
 *     embed_game --fast ...                         without waiting for a frame
 *
 * Scripts run in game time: `green.sleep(2)` is two seconds of the game, and
 * none pass while it is paused.  Each frame gives them 4 ms at most; whoever is
 * ready after that goes on in the next.  There is no event loop, so scripts
 * reach nothing but the game. */
#include <greenlua.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAMES_PER_SECOND = 60 };
static const int64_t second = 1000000000, budget = 4000000;

typedef struct game {
  int64_t time; /* of the game, in nanoseconds */
  bool paused;
  int moves; /* of characters, in this frame */
} game;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * second + t.tv_nsec;
}

static int64_t game_clock(void *ud) {
  return ((game *)ud)->time;
}

/* move(): what scripts can do here */
static int move(lua_State *L) {
  game *g = green_userdata(green_of(L));
  g->moves++;
  return 0;
}

/* Call a global function of the script in main: it may wake and spawn. */
static void tell(lua_State *L, const char *function, int number) {
  lua_getglobal(L, function);
  lua_pushinteger(L, number);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_pop(L, 1);
  }
}

static int by_size(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void print_times(int64_t *took, int n) {
  int64_t sum = 0;
  for (int i = 0; i < n; i++) sum += took[i];
  qsort(took, (size_t)n, sizeof *took, by_size);
  printf("scripts per frame: mean %.2f ms, 99%% %.2f ms, most %.2f ms\n",
         (double)sum / n * 1e-6, (double)took[n * 99 / 100] * 1e-6,
         (double)took[n - 1] * 1e-6);
}

static void wait_until(int64_t when) {
  int64_t rest = when - now();
  if (rest <= 0) return;
  struct timespec t = {rest / second, rest % second};
  nanosleep(&t, NULL);
}

/* What a game does each frame; how long the scripts took. */
static int64_t frame(game *g, green_hub *hub, int number) {
  g->moves = 0;
  g->paused = number % 60 >= 50; /* somebody looks at the menu */
  if (!g->paused) g->time += second / FRAMES_PER_SECOND;
  if (number % 60 == 30) tell(green_lua(hub), "alarm", number);
  int64_t start = now();
  int code = green_step(hub, budget);
  if (code < 0) fprintf(stderr, "%s\n", green_strerror(code));
  return now() - start;
}

static bool load(green_hub *hub, const char *path, int characters) {
  lua_State *L = green_lua(hub);
  lua_register(L, "move", move);
  if (luaL_dofile(L, path) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return false;
  }
  tell(L, "populate", characters);
  return true;
}

int main(int argc, char **argv) {
  bool fast = argc > 1 && !strcmp(argv[1], "--fast");
  char **args = argv + 1 + fast;
  int characters = args[0] ? atoi(args[0]) : 5000;
  int frames = args[0] && args[1] ? atoi(args[1]) : 300;
  const char *path =
      args[0] && args[1] && args[2] ? args[2] : "examples/embed_game.lua";
  if (characters < 1 || frames < 1) return EXIT_FAILURE;
  game g = {0};
  green_config config = green_defaults();
  config.flags = GREEN_NO_LOOP;
  config.clock = game_clock;
  config.ud = &g;
  green_hub *hub = green_open(&config, NULL);
  int64_t *took = calloc((size_t)frames, sizeof *took);
  bool good = hub && took && load(hub, path, characters);
  if (good) {
    long moves = 0, while_paused = 0;
    int64_t next = now();
    while (green_step(hub, INT64_MAX) == GREEN_MORE) continue;
    for (int i = 0; i < frames; i++) {
      took[i] = frame(&g, hub, i);
      moves += g.moves;
      if (g.paused) while_paused += g.moves;
      next += second / FRAMES_PER_SECOND;
      if (!fast) wait_until(next);
    }
    printf("%d characters, %d frames, %ld moves, %ld of them while paused\n",
           characters, frames, moves, while_paused);
    tell(green_lua(hub), "report", frames);
    print_times(took, frames);
  }
  green_free(hub);
  free(took);
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
