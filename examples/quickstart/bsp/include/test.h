/*
 * Self tests that report in KTAP version 1, one subtest per suite:
 * https://docs.kernel.org/dev-tools/ktap.html
 */
#pragma once
#include <stdbool.h>

struct test_case {
	const char *name;
	void (*run)(void);
};

struct test_suite {
	const char *name;
	const struct test_case *cases; /* ended by one without a name */
};

/* Marks the running case as failed and says why; the case goes on. */
void test_fail(const char *file, int line, const char *what);

#define EXPECT(condition)                                        \
	do {                                                     \
		if (!(condition))                                \
			test_fail(__FILE__, __LINE__, #condition); \
	} while (0)

/* Runs every suite and reports on the console. Returns whether all passed. */
bool tests_run(void);

extern const struct test_suite string_suite, print_suite, crc32_suite, list_suite, heap_suite, memory_suite, cpu_suite,
	timer_suite;
