/* Inside coop*.c: one call on one blocking descriptor. */
#ifndef GR_COOP_IO_H
#define GR_COOP_IO_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "coop.h"

typedef struct gr_coop_io {
  gr_state *S;
  const gr_wait *what;
  int fd;
  short events; /* that it waits for */
  int option;   /* of the socket, with its timeout; 0: none */
  bool begun;   /* `at` is set */
  double at;
} gr_coop_io;

/* Is it a descriptor whose calls wait? */
bool gr_coop_blocks(int fd);

/* When a wait that begins now ends, by such an option. */
double gr_coop_deadline(int fd, int option);

/* Wait for it, and for no longer than its socket says since the first wait. */
gr_coop_end gr_coop_io_await(gr_coop_io *);

/* Wait until poll says that it is ready. */
gr_coop_end gr_coop_io_ready(gr_coop_io *);

/* A message that may go in several pieces.  Its vectors are the caller's until
 * some of it is done. */
typedef struct gr_coop_message {
  struct msghdr m;
  struct iovec one, *own;
  size_t done;
} gr_coop_message;

/* One of a buffer, and one of several.  Nothing is written to them. */
void gr_coop_set_buffer(gr_coop_message *, const void *buffer, size_t size);
void gr_coop_set_vectors(gr_coop_message *, const struct iovec *of, size_t n);

/* recvmsg and sendmsg, on a socket.  `answer`: NULL, or what has come with the
 * first piece. */
ssize_t gr_coop_receive(gr_state *, const gr_wait *what, int fd,
                        gr_coop_message *, int flags, struct msghdr *answer);
ssize_t gr_coop_transmit(gr_state *, const gr_wait *what, int fd,
                         gr_coop_message *, int flags);

#endif
