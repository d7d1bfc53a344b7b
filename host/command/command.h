/* The `greenlua` command: what its files share.  The library knows none of it.
 *
 *   main.c       options, scripts, the end
 *   interrupt.c  Ctrl-C
 *   repl.c       the prompt
 *   line.c       how it gets a line while greenlets run
 *   edit.c       and how that is edited on a terminal
 *   coop*.c      what is lent to C libraries (coop.h)
 */
#ifndef GR_COMMAND_H
#define GR_COMMAND_H

#include <stdbool.h>

#include "state.h"

/* What messages begin with; NULL at the prompt. */
extern const char *gr_progname;

/* lua_pcall, in which an error gets a traceback. */
int gr_call(lua_State *L, int nargs, int nresults);

/* Print the error on top of the stack, popped, if there is one: returns
 * `status`. */
int gr_report(lua_State *L, int status);

/* Print a message on stderr. */
void gr_message(const char *text);

/* --- Ctrl-C ------------------------------------------------------------- */

/* From now on SIGINT raises "interrupted!" in main, wherever that stands; only
 * if it stands at the prompt and a greenlet is busy, in that one.  A second
 * SIGINT, before the first is raised, ends the process. */
void gr_interrupt_open(lua_State *L);

/* SIGINT ends the process again. */
void gr_interrupt_close(void);

/* --- the prompt --------------------------------------------------------- */

/* Read, run and print until the end of the input. */
void gr_repl(lua_State *L);

/* `L` is the thread that reads.  Raises if the hub cannot be opened. */
void gr_line_open(lua_State *L);

/* Push a line without its end; false if there is none.  May block.  Raises
 * what is raised in main meanwhile, Ctrl-C for one. */
bool gr_line_read(lua_State *L, const char *prompt);

/* Add to the history. */
void gr_line_remember(const char *text);

void gr_line_close(void);

/* What main waits for meanwhile. */
extern const gr_wait gr_prompt_wait;

/* instead of a byte */
enum {
  GR_BYTE_END = -1,
  GR_BYTE_RAISED = -2 /* main was raised what is now on top of its stack */
};

/* The next byte of stdin, for which main parks. */
int gr_line_byte(void);

/* The same for lines that are edited.  false: that is not possible here. */
bool gr_edit_open(lua_State *L, struct ev_loop *loop);
bool gr_edit_read(lua_State *L, const char *prompt);
void gr_edit_remember(const char *text);
void gr_edit_close(void);

#endif
