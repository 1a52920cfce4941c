/*
 * The server records itself and its host as ordinary series (tsd.*, host.*), through the ordinary
 * write path, so that there is real data from the first seconds on.
 */
#pragma once

#include "base/err.h"
#include "server/instance.h"

struct self;

/* Starts the recorder's thread; the first record is written before it returns. *out is NULL when
   self.interval is 0. */
enum rc self_start(struct instance *instance, struct self **out, struct err *err) MUST_USE;
void self_stop(struct self *self);
