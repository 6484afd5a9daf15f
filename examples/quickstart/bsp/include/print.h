#pragma once
#include <stdarg.h>
#include <stddef.h>

/*
 * Formats as C's snprintf does; knows %s %c %d %u %x %p and %%, a width and zero padding.
 * Returns the length the whole text has, which may be more than what fits.
 */
int format(char *buffer, size_t size, const char *text, ...) __attribute__((format(printf, 3, 4)));
int vformat(char *buffer, size_t size, const char *text, va_list args);

/* Formats a line of at most 255 characters to the console. */
void print(const char *text, ...) __attribute__((format(printf, 1, 2)));
