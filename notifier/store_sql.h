/* Postgres's clock in our unit, as of the transaction's start. */
#pragma once

#define MS_NOW "(extract(epoch FROM now()) * 1000)::bigint"
