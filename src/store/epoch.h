/*
 * Epochs: readers walk shared structures without locks; writers free what they unlinked once no
 * reader can still see it (Fraser, "Practical lock-freedom", 2004, section 5.2.3).
 *
 * A reader pins, follows pointers, unpins; pins are short (one series), so retired memory does not
 * pile up. A domain is one set of readers and writers. Pins of one thread nest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct epoch_domain;

struct epoch_domain *epoch_domain_new(void);

/* Frees everything still retired. No reader may be pinned. NULL is harmless. */
void epoch_domain_free(struct epoch_domain *domain);

/* Pins the calling thread. Constant cost, never blocks. */
void epoch_pin(struct epoch_domain *domain);
void epoch_unpin(struct epoch_domain *domain);

/* Calls `release(pointer, context)` once every reader pinned now has unpinned. Safe from any
   thread; calls due releases on the way, on this thread. */
void epoch_retire(struct epoch_domain *domain, void *pointer,
                  void (*release)(void *pointer, void *context), void *context);

/* Runs the releases that are due. */
void epoch_collect(struct epoch_domain *domain);

/* For those who keep what they retire themselves: a stamp for everything the calling thread has
   unlinked so far, */
uint64_t epoch_stamp(struct epoch_domain *domain);
/* and the largest stamp whose holders no reader can see any more. Costs a look at every pinned
   thread. */
uint64_t epoch_passed(struct epoch_domain *domain);
