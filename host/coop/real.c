#include "real.h"

#include <dlfcn.h>

struct gr_real gr_real;

/* Once more does no harm: no lock is needed.  A constructor, so that no signal
 * handler comes to it first. */
__attribute__((constructor)) void gr_real_find(void) {
#define LENT(result, name, parameters, arguments)                              \
  *(void **)&gr_real.name##_ = dlsym(RTLD_NEXT, #name);
#include "coop.def"
#undef LENT
  __atomic_store_n(&gr_real.found, 1, __ATOMIC_RELEASE);
}

/* What the linker makes of our own calls. */
#define LENT(result, name, parameters, arguments)                              \
  result __wrap_##name parameters;                                             \
  result __wrap_##name parameters {                                            \
    return GR_REAL(name) arguments;                                            \
  }
#include "coop.def"
