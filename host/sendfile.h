/* A file's bytes into a stream, without a way through our memory where the
 * kernel can do that. */
#ifndef GR_SENDFILE_H
#define GR_SENDFILE_H

#include "stream.h"

/* Write up to `size` bytes of the file `fd` from the offset `at` on: how many
 * were taken; 0: the file ends there; -EAGAIN; -errno, of the file or of the
 * stream.  The file's own offset is neither used nor moved, so it must be one
 * that has offsets (-ESPIPE).  Reading it may wait for the disk. */
ssize_t gr_stream_sendfile(gr_stream *, int fd, uint64_t at, size_t size);

#endif
