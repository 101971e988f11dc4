/*
 * A channel's endpoint on loopback that answers when the test says so: every request is a letter
 * that waits. One request a connection. A failure ends the test with its words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct letterbox;

struct letterbox *letterbox_open(void);
int letterbox_port(const struct letterbox *l);
/* Letters so far; those before the last letterbox_empty() do not count. */
size_t letterbox_count(struct letterbox *l);
/* Until there are `n`. */
void letterbox_await(struct letterbox *l, size_t n);
/* Does the letter, its path or its body, contain this? */
bool letterbox_tells(struct letterbox *l, size_t i, const char *words);
/* Once a letter. Who sent it may have given up by then. */
void letterbox_answer(struct letterbox *l, size_t i, int status);
/* Throw all letters away; what was not answered never will be. */
void letterbox_empty(struct letterbox *l);
void letterbox_close(struct letterbox *l);
