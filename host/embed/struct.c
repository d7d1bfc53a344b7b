/* greenlua.h: structs of older and newer headers than the library's. */
#include <string.h>

#include "green.h"

static size_t size_of(const void *s) {
  size_t size;
  memcpy(&size, s, sizeof size);
  return size;
}

bool gr_take_struct(void *to, size_t size, const void *from) {
  size_t has = size_of(from), common = has < size ? has : size;
  const char *bytes = from;
  if (has < sizeof has) return false;
  for (size_t i = size; i < has; i++)
    if (bytes[i]) return false;
  memset(to, 0, size);
  memcpy(to, from, common);
  return true;
}

bool gr_give_struct(void *to, const void *from, size_t size) {
  size_t has = size_of(to), common = has < size ? has : size;
  if (has < sizeof has) return false;
  memcpy((char *)to + sizeof has, (const char *)from + sizeof has,
         common - sizeof has);
  if (has > size) memset((char *)to + size, 0, has - size);
  return true;
}
