/* Streams of the C library (FILE) that never block.
 *
 * What reads or writes such a stream is others' code, Lua's io library for one,
 * and nobody can be parked below it: the stream would be left in the middle of
 * an operation.  So a stream that has nothing to read says so, with EAGAIN, and
 * the operation, which has failed, is begun once more when there is something:
 *
 *     do {
 *       gr_file_begin(file);
 *       ... read from file->f, by whatever function of stdio ...
 *     } while (gr_file_starved(file) && wait for file->reads);
 *
 * gr_file_starved has put back what that operation had read already.  Code that
 * does not begin in this way blocks as ever.
 *
 * A write takes all, always.  What the descriptor does not is kept and goes out
 * from the loop; who wants to wait for that waits on file->drained.
 *
 * The descriptor may be one that other processes have, too (`shared`): those
 * would not understand it if it became non-blocking.  It is asked with poll(2)
 * first, and given no more at once than it has said that it takes.
 *
 * This layer knows no Lua.
 */
#ifndef GR_FILE_H
#define GR_FILE_H

#include <stdio.h>

#include "io.h"

typedef struct gr_file {
  gr_node node;    /* among all of the process */
  FILE *f;         /* NULL: closed; what is kept is still to go out */
  FILE *before;    /* what it stands for; what that has read comes first */
  gr_hub *hub;     /* NULL: closed, so that it blocks */
  pthread_t owner; /* of the hub */
  int fd;
  bool shared;     /* the descriptor is not ours: it stays open */
  bool polled;     /* and asked before it is used */
  bool guarded;    /* somebody has begun an operation, and can wait */
  bool starved;    /* and it had nothing to go on with */
  bool eof;        /* to be told next */
  int error;       /* the same; 0: none */
  int failure;     /* of the last write from the loop */
  gr_io reads;     /* who waits for something to read */
  gr_io writes;    /* lets what is kept go out */
  gr_list drained; /* who waits for that */
  char *in;        /* what has been read since the last operation began */
  size_t kept, next, end, room; /* from there on, to be read next */
  char *out;                    /* what is kept */
  size_t sent, outlen, outroom;
} gr_file;

/* A stream on `fd`, with a mode as for fopen(3).  `before`: see above, or NULL.
 * fclose(3) on file->f ends it, and the descriptor unless it is shared; what is
 * kept still goes out.  NULL and errno: for want of memory. */
gr_file *gr_file_open(gr_hub *, int fd, const char *mode, bool shared,
                      FILE *before);

/* Have a descriptor that is ours asked before it is used, too: of a named pipe
 * that nobody has opened for writing yet, a read would say that it has ended.
 */
void gr_file_ask_first(gr_file *);

/* An operation of stdio that reads begins; and has ended: has it failed because
 * there was nothing to read?  Then it has not happened. */
void gr_file_begin(gr_file *);
bool gr_file_starved(gr_file *);

/* Read what is there, for an operation that has not happened.  false: nothing
 * has come.  `from` is where the new bytes are; see gr_file_bytes. */
bool gr_file_fill(gr_file *, size_t *from);

/* The bytes that such an operation would find, and how many. */
const char *gr_file_bytes(const gr_file *, size_t *n);

/* Is something kept that is to go out? */
static inline bool gr_file_pending(const gr_file *file) {
  return file->outlen > file->sent;
}

/* The hub is about to be closed: its files block from now on.  What they keep
 * goes out first. */
void gr_file_forget(gr_hub *);

/* Let the caller's hub have a file that a hub has left. */
void gr_file_inherit(gr_file *, gr_hub *);

#endif
