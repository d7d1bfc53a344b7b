/* gethostbyname and kin.
 *
 * The answer of those without _r stays where it is until the next one; that of
 * the others moves to the caller's buffer.  All its pointers point into it. */
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "coop_job.h"
#include "coop_real.h"

enum { BY_NAME, BY_NAME_OF_FAMILY, BY_ADDRESS };

typedef struct host_job {
  gr_coop_job j; /* first */
  int how, family;
  size_t length; /* of the key: a name, or an address */
  char *key;
  struct hostent entry, *answer;
  char *memory, *buffer; /* at an address that is like the caller's */
  size_t room;
  bool grows;
  int result, error; /* and h_errno */
} host_job;

static int look_up(host_job *h) {
  switch (h->how) {
  case BY_NAME:
    return GR_REAL(gethostbyname_r)(h->key, &h->entry, h->buffer, h->room,
                                    &h->answer, &h->error);
  case BY_NAME_OF_FAMILY:
    return GR_REAL(gethostbyname2_r)(h->key, h->family, &h->entry, h->buffer,
                                     h->room, &h->answer, &h->error);
  default:
    return GR_REAL(gethostbyaddr_r)(h->key, (socklen_t)h->length, h->family,
                                    &h->entry, h->buffer, h->room, &h->answer,
                                    &h->error);
  }
}

/* On a thread, where gr_realloc is nobody's to call. */
static void call(gr_coop_job *j) {
  host_job *h = (host_job *)(void *)j;
  for (;;) {
    h->result = look_up(h);
    if (h->result != ERANGE || !h->grows) return;
    char *more = realloc(h->memory, h->room * 2);
    if (!more) return;
    h->memory = h->buffer = more;
    h->room *= 2;
  }
}

static void drop(gr_coop_job *j) {
  free(((host_job *)(void *)j)->memory);
}

/* `like`: the caller's buffer of `room` bytes, or NULL. */
static host_job *new_job(int how, const void *key, size_t length, int family,
                         const char *like, size_t room) {
  enum { USUAL = 1024, ALIGN = 16 };
  host_job *h = gr_calloc(sizeof *h + length);
  if (!h) return NULL;
  h->j.call = call;
  h->j.drop = drop;
  h->how = how;
  h->family = family;
  h->length = length;
  h->key = memcpy(h + 1, key, length);
  h->grows = !like;
  h->room = like ? room : USUAL;
  h->memory = malloc(h->room + ALIGN);
  if (!h->memory) {
    gr_free(h);
    return NULL;
  }
  h->buffer = h->memory + (uintptr_t)like % ALIGN;
  return h;
}

static size_t length_of(const char *name) {
  return strlen(name) + 1;
}

/* --- those with a buffer of their own ----------------------------------- */

static _Thread_local host_job *last;

/* Sets *how if it is not to be asked here. */
static struct hostent *ask(gr_state *S, const gr_wait *what, host_job *h,
                           gr_coop_end *how) {
  *how = h ? gr_coop_perform(S, what, &h->j) : GR_COOP_CANNOT;
  if (*how == GR_COOP_STRUCK) h_errno = NO_RECOVERY;
  if (*how != GR_COOP_LOOK) return NULL;
  if (last) gr_coop_job_free(&last->j);
  last = h;
  if (!h->answer) h_errno = h->result == ERANGE ? NETDB_INTERNAL : h->error;
  return h->answer;
}

static const gr_wait by_name = {.name = "gethostbyname", .foreign = true};
static const gr_wait by_address = {.name = "gethostbyaddr", .foreign = true};

static bool struck(gr_state *S) {
  if (!gr_coop_struck(S)) return false;
  h_errno = NO_RECOVERY;
  return true;
}

GR_EXPORT struct hostent *gethostbyname(const char *name) {
  gr_state *S = gr_coop_here();
  gr_coop_end how;
  if (!S) return GR_REAL(gethostbyname)(name);
  if (struck(S)) return NULL;
  struct hostent *found = ask(
      S, &by_name, new_job(BY_NAME, name, length_of(name), 0, NULL, 0), &how);
  return how == GR_COOP_CANNOT ? GR_REAL(gethostbyname)(name) : found;
}

GR_EXPORT struct hostent *gethostbyname2(const char *name, int family) {
  gr_state *S = gr_coop_here();
  gr_coop_end how;
  if (!S) return GR_REAL(gethostbyname2)(name, family);
  if (struck(S)) return NULL;
  host_job *h =
      new_job(BY_NAME_OF_FAMILY, name, length_of(name), family, NULL, 0);
  struct hostent *found = ask(S, &by_name, h, &how);
  return how == GR_COOP_CANNOT ? GR_REAL(gethostbyname2)(name, family) : found;
}

GR_EXPORT struct hostent *gethostbyaddr(const void *address, socklen_t length,
                                        int family) {
  gr_state *S = gr_coop_here();
  gr_coop_end how;
  if (!S) return GR_REAL(gethostbyaddr)(address, length, family);
  if (struck(S)) return NULL;
  host_job *h = new_job(BY_ADDRESS, address, length, family, NULL, 0);
  struct hostent *found = ask(S, &by_address, h, &how);
  return how == GR_COOP_CANNOT ? GR_REAL(gethostbyaddr)(address, length, family)
                               : found;
}

/* --- those with the caller's -------------------------------------------- */

typedef struct place {
  struct hostent *entry, **answer;
  char *buffer;
  size_t room;
  int *error;
} place;

static void *moved(const host_job *h, const place *to, void *pointer) {
  return pointer ? to->buffer + ((char *)pointer - h->buffer) : NULL;
}

static void move_list(const host_job *h, const place *to, char **list) {
  for (; list && *list; list++) *list = moved(h, to, *list);
}

static void move(const host_job *h, const place *to) {
  memcpy(to->buffer, h->buffer, to->room);
  *to->entry = h->entry;
  to->entry->h_name = moved(h, to, h->entry.h_name);
  to->entry->h_aliases = moved(h, to, h->entry.h_aliases);
  to->entry->h_addr_list = moved(h, to, h->entry.h_addr_list);
  move_list(h, to, to->entry->h_aliases);
  move_list(h, to, to->entry->h_addr_list);
  *to->answer = to->entry;
}

static int give_up(const place *to) {
  *to->answer = NULL;
  *to->error = NO_RECOVERY;
  return ECANCELED;
}

static int ask_into(gr_state *S, const gr_wait *what, host_job *h,
                    const place *to, gr_coop_end *how) {
  *how = h ? gr_coop_perform(S, what, &h->j) : GR_COOP_CANNOT;
  if (*how != GR_COOP_LOOK) return give_up(to);
  int result = h->result;
  *to->answer = NULL;
  *to->error = h->error;
  if (h->answer) move(h, to);
  gr_coop_job_free(&h->j);
  return result;
}

GR_EXPORT int gethostbyname_r(const char *name, struct hostent *entry,
                              char *buffer, size_t room,
                              struct hostent **answer, int *error) {
  gr_state *S = gr_coop_here();
  place to = {entry, answer, buffer, room, error};
  gr_coop_end how = GR_COOP_CANNOT;
  int result = 0;
  if (S && gr_coop_struck(S)) return give_up(&to);
  if (S)
    result = ask_into(S, &by_name,
                      new_job(BY_NAME, name, length_of(name), 0, buffer, room),
                      &to, &how);
  if (how != GR_COOP_CANNOT) return result;
  return GR_REAL(gethostbyname_r)(name, entry, buffer, room, answer, error);
}

GR_EXPORT int gethostbyname2_r(const char *name, int family,
                               struct hostent *entry, char *buffer, size_t room,
                               struct hostent **answer, int *error) {
  gr_state *S = gr_coop_here();
  place to = {entry, answer, buffer, room, error};
  gr_coop_end how = GR_COOP_CANNOT;
  int result = 0;
  if (S && gr_coop_struck(S)) return give_up(&to);
  if (S)
    result = ask_into(
        S, &by_name,
        new_job(BY_NAME_OF_FAMILY, name, length_of(name), family, buffer, room),
        &to, &how);
  if (how != GR_COOP_CANNOT) return result;
  return GR_REAL(gethostbyname2_r)(name, family, entry, buffer, room, answer,
                                   error);
}

GR_EXPORT int gethostbyaddr_r(const void *address, socklen_t length, int family,
                              struct hostent *entry, char *buffer, size_t room,
                              struct hostent **answer, int *error) {
  gr_state *S = gr_coop_here();
  place to = {entry, answer, buffer, room, error};
  gr_coop_end how = GR_COOP_CANNOT;
  int result = 0;
  if (S && gr_coop_struck(S)) return give_up(&to);
  if (S)
    result = ask_into(
        S, &by_address,
        new_job(BY_ADDRESS, address, length, family, buffer, room), &to, &how);
  if (how != GR_COOP_CANNOT) return result;
  return GR_REAL(gethostbyaddr_r)(address, length, family, entry, buffer, room,
                                  answer, error);
}
