/* Fuzz targets: bytes that nobody has thought of, for what reads bytes.
 *
 * A target is a Lua file, targets/NAME.lua, that returns a function of one
 * input, a string; it runs in a greenlet, and it has failed if it raises, if a
 * greenlet of its own does, if one of them is left when it returns, or if all
 * of them wait for each other.  One Lua state serves all inputs of a process,
 * on a clock of ours: it goes on when nobody is ready, and so timeouts
 * cost no time and an input always means the same.
 *
 * libFuzzer makes the inputs (the preset fuzz, which has the sanitizers, too);
 * in all others replay.c runs those that are kept in corpus/.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* What libFuzzer calls: once, with "--target=NAME" among the arguments; and for
 * each input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* After the last input: nothing may be left. */
void fuzz_finish(void);

/* The module "fuzz.core": what of the core has no Lua module. */
int luaopen_fuzz_core(lua_State *L);

#endif
